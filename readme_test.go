package midspan_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// The program in the README is one: it compiles and vets.
func TestReadmeExample(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllSubmatch(readme, -1)
	if len(blocks) != 1 {
		t.Fatalf("README.md has %d Go programs, want 1", len(blocks))
	}
	main := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(main, blocks[0][1], 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "vet", main).CombinedOutput(); err != nil {
		t.Fatalf("vet: %v\n%s", err, out)
	}
}
