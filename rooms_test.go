package midspan_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const module = "github.com/midspan/midspan"

// A room is a folder with everything below it. Its rule is one line of the table in ARCHITECTURE.md.
type room struct {
	path string
	// rooms that it may import; "any" is all of them.
	rooms []string
	// libraries, by import path prefix, that it may import besides the standard library; "any" is all of them.
	libraries []string
	// never lists what must not be among its dependencies, however indirect.
	never []string
}

var rooms = []room{
	{path: "activity"},
	{
		path:      "tracing",
		rooms:     []string{"activity"},
		libraries: []string{"go.opentelemetry.io/otel"},
		never:     []string{"go.opentelemetry.io/otel/sdk", "go.opentelemetry.io/otel/exporters"},
	},
	{
		path:      "processor",
		rooms:     []string{"activity"},
		libraries: []string{"go.opentelemetry.io/otel"},
		never:     []string{"go.opentelemetry.io/otel/exporters", "go.opentelemetry.io/collector", module + "/internal/receiver"},
	},
	{
		path:      "index",
		rooms:     []string{"activity"},
		libraries: []string{"github.com/DataDog/sketches-go"},
		never:     []string{"go.opentelemetry.io/otel"},
	},
	{
		path:  "api",
		rooms: []string{"activity"},
		libraries: []string{
			"github.com/gorilla/mux", "github.com/gorilla/websocket", "github.com/prometheus/client_golang",
			"go.opentelemetry.io/otel/attribute", "go.opentelemetry.io/otel/exporters/prometheus",
			"go.opentelemetry.io/otel/metric", "go.opentelemetry.io/otel/sdk/metric",
		},
		never: []string{"github.com/DataDog/sketches-go", "go.opentelemetry.io/otel/sdk/trace"},
	},
	{path: "dashboard"},
	{
		path:      ".",
		rooms:     []string{"activity", "tracing", "processor", "index", "api", "dashboard", "internal/redact"},
		libraries: []string{"go.opentelemetry.io/otel", "go.opentelemetry.io/contrib/propagators", "google.golang.org/grpc", "google.golang.org/genproto/googleapis/rpc"},
		never: []string{
			"database/sql", "modernc.org", // a database
			"go.opentelemetry.io/collector",
			"github.com/nats-io", // a broker
			module + "/internal/bridge", module + "/internal/receiver", module + "/internal/eventlog", module + "/internal/otlpclient",
			"github.com/spf13/cobra",
		},
	},
	{
		path:  "internal/receiver",
		rooms: []string{"activity"},
		libraries: []string{
			"go.opentelemetry.io/collector/pdata", "go.opentelemetry.io/proto/otlp", "github.com/klauspost/compress",
			"google.golang.org/grpc", "google.golang.org/protobuf", "google.golang.org/genproto/googleapis/rpc",
		},
		never: []string{module + "/processor", "database/sql"},
	},
	{path: "internal/liveness", rooms: []string{"activity"}},
	{
		path:      "internal/eventlog",
		rooms:     []string{"activity"},
		libraries: []string{"modernc.org/sqlite", "github.com/google/go-cmp"}, // the latter in the conformance suite
		never:     []string{"go.opentelemetry.io"},
	},
	{path: "internal/redact", rooms: []string{"activity"}, libraries: []string{"go.opentelemetry.io/otel/attribute", "go.opentelemetry.io/otel/metric"}},
	{
		path: "internal/otlpclient",
		libraries: []string{
			"go.opentelemetry.io/collector/pdata", "github.com/klauspost/compress",
			"google.golang.org/grpc", "google.golang.org/protobuf", "google.golang.org/genproto/googleapis/rpc",
		},
		never: []string{module + "/processor", "database/sql"},
	},
	{
		path:      "internal/forward",
		rooms:     []string{"activity", "internal/eventlog", "internal/otlpclient"},
		libraries: []string{"google.golang.org/protobuf"},
		never:     []string{module + "/processor", module + "/index", "database/sql"},
	},
	{
		path:      "internal/loadgen",
		rooms:     []string{"internal/otlpclient"},
		libraries: []string{"go.opentelemetry.io/proto/otlp", "google.golang.org/protobuf"},
		never:     []string{"database/sql"},
	},
	{
		path:      "internal/history",
		rooms:     []string{"activity", "index", "internal/eventlog"},
		libraries: []string{"github.com/klauspost/compress"},
		never:     []string{"go.opentelemetry.io"},
	},
	{
		path:      "internal/transfer", // reads OTLP by the receiver, as if it had been sent
		rooms:     []string{"activity", "index", "internal/receiver", "internal/eventlog", "internal/history"},
		libraries: []string{"go.opentelemetry.io/collector/pdata"},
		never:     []string{module + "/processor", module + "/api", "github.com/spf13/cobra"},
	},
	{
		path:  "internal/bridge",
		rooms: []string{"activity", "index", "api", "dashboard", "internal/receiver", "internal/liveness", "internal/eventlog", "internal/history", "internal/forward", "internal/redact", "internal/otlpclient"},
		// OpenTelemetry's for the bridge's own traces and metrics.
		libraries: []string{
			"google.golang.org/grpc", "google.golang.org/protobuf", "go.opentelemetry.io/otel", "go.opentelemetry.io/proto/otlp", "github.com/prometheus/client_golang",
			"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp",
		},
		never: []string{module + "/processor", "github.com/spf13/cobra"},
	},
	{
		path:      "internal/orchestrator",
		rooms:     []string{".", "activity", "tracing", "processor", "index", "api", "dashboard"},
		libraries: []string{"any"},
		never:     []string{"github.com/spf13/cobra"},
	},
	{path: "cmd/midspan", rooms: []string{"any"}, libraries: []string{"any"}},
}

// TestRooms holds the import rules of the design against what go list finds.
func TestRooms(t *testing.T) {
	packages := goList(t)
	var checked, absent []string
	for _, r := range rooms {
		own := slices.ContainsFunc(packages, func(p pkg) bool { return r.holds(p.ImportPath) })
		if !own {
			absent = append(absent, r.path)
			continue
		}
		checked = append(checked, r.path)
		for _, problem := range r.check(packages) {
			t.Error(problem)
		}
	}
	if !slices.Contains(checked, "activity") {
		t.Error("activity was not found: nothing was checked")
	}
	t.Logf("checked: %s; not there: %s", strings.Join(checked, ", "), strings.Join(absent, ", "))
}

// TestRoomCheck proves that TestRooms can fail.
func TestRoomCheck(t *testing.T) {
	r := room{path: "a", rooms: []string{"b"}, libraries: []string{"lib.example/ok"}, never: []string{"database/sql", "lib.example/bad"}}
	std := pkg{ImportPath: "fmt", Standard: true}
	sql := pkg{ImportPath: "database/sql", Standard: true}
	driver := pkg{ImportPath: "database/sql/driver", Standard: true}
	for _, tt := range []struct {
		name     string
		packages []pkg
		want     []string
	}{
		{"standard library", []pkg{std, {ImportPath: module + "/a", Imports: []string{"fmt"}}}, nil},
		{"room", []pkg{{ImportPath: module + "/b"}, {ImportPath: module + "/a", Imports: []string{module + "/b"}}}, nil},
		{"itself", []pkg{{ImportPath: module + "/a/x"}, {ImportPath: module + "/a", Imports: []string{module + "/a/x"}}}, nil},
		{"another room", []pkg{{ImportPath: module + "/c"}, {ImportPath: module + "/a", Imports: []string{module + "/c"}}}, []string{"a imports " + module + "/c"}},
		{"a room of a like name", []pkg{{ImportPath: module + "/bc"}, {ImportPath: module + "/a", Imports: []string{module + "/bc"}}}, []string{"a imports " + module + "/bc"}},
		{"the root", []pkg{{ImportPath: module}, {ImportPath: module + "/a", Imports: []string{module}}}, []string{"a imports " + module}},
		{"below", []pkg{{ImportPath: module + "/c"}, {ImportPath: module + "/a/x", Imports: []string{module + "/c"}}}, []string{"a/x imports " + module + "/c"}},
		{"library", []pkg{{ImportPath: "lib.example/ok/x"}, {ImportPath: module + "/a", Imports: []string{"lib.example/ok/x"}}}, nil},
		{"another library", []pkg{{ImportPath: "lib.example/no"}, {ImportPath: module + "/a", Imports: []string{"lib.example/no"}}}, []string{"a imports lib.example/no"}},
		{
			"never, indirectly",
			[]pkg{sql, {ImportPath: "lib.example/ok", Imports: []string{"database/sql"}}, {ImportPath: module + "/a", Imports: []string{"lib.example/ok"}, Deps: []string{"lib.example/ok", "database/sql"}}},
			[]string{"a depends on database/sql"},
		},
		{
			"the interface of a database is none",
			[]pkg{driver, {ImportPath: module + "/a", Imports: []string{"database/sql/driver"}, Deps: []string{"database/sql/driver"}}},
			nil,
		},
		{
			"below never",
			[]pkg{{ImportPath: "lib.example/ok"}, {ImportPath: "lib.example/bad/x"}, {ImportPath: module + "/a", Imports: []string{"lib.example/ok"}, Deps: []string{"lib.example/ok", "lib.example/bad/x"}}},
			[]string{"a depends on lib.example/bad/x"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, r.check(tt.packages)); diff != "" {
				t.Error(diff)
			}
		})
	}
	open := room{path: "a", rooms: []string{"any"}, libraries: []string{"any"}}
	if got := open.check([]pkg{{ImportPath: module + "/c"}, {ImportPath: "lib.example/no"}, {ImportPath: module + "/a", Imports: []string{module + "/c", "lib.example/no"}}}); got != nil {
		t.Errorf("a room that may import anything: %v", got)
	}
}

// TestEnvironment holds that configuration comes in by cmd/midspan alone, OpenTelemetry's own variables aside.
func TestEnvironment(t *testing.T) {
	files := token.NewFileSet()
	count := 0
	for _, p := range goList(t) {
		if !within(p.ImportPath, module) || within(p.ImportPath, module+"/cmd/midspan") {
			continue
		}
		for _, name := range p.GoFiles {
			file, err := parser.ParseFile(files, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			count++
			for _, read := range environment(file) {
				switch {
				case p.ImportPath == module && strings.HasPrefix(read.variable, "OTEL_"):
					continue
				case p.ImportPath == module+"/processor" && strings.HasPrefix(read.variable, "OTEL_GO_X_"): // as the SDK that it wraps does
					continue
				}
				t.Errorf("%s: %s(%s): only cmd/midspan reads the environment", files.Position(read.at), read.function, read.variable)
			}
		}
	}
	if count == 0 {
		t.Error("no file was checked")
	}
	t.Logf("checked %d files", count)
}

// TestEnvironmentReads proves that TestEnvironment can fail.
func TestEnvironmentReads(t *testing.T) {
	for _, tt := range []struct {
		name, source string
		want         []string
	}{
		{"none", `import "os"; var x = os.Args`, nil},
		{"literal", `import "os"; var x = os.Getenv("HOME")`, []string{"os.Getenv HOME"}},
		{"constant", `import "os"; const name = "OTEL_A"; var x, y = os.LookupEnv(name)`, []string{"os.LookupEnv OTEL_A"}},
		{"variable", `import "os"; func f(name string) string { return os.Getenv(name) }`, []string{"os.Getenv name"}},
		{"renamed", `import o "os"; var x = o.Environ()`, []string{"os.Environ "}},
		{"expanded", `import "os"; var x = os.ExpandEnv("$HOME")`, []string{"os.ExpandEnv $HOME"}},
		{"as a value", `import "os"; var f = os.Getenv`, []string{"os.Getenv "}},
		{"system call", `import "syscall"; var x, y = syscall.Getenv("HOME")`, []string{"syscall.Getenv HOME"}},
		{"another os", `import "example.com/os"; var x = os.Getenv("HOME")`, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file, err := parser.ParseFile(token.NewFileSet(), "", "package p; "+tt.source, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, read := range environment(file) {
				got = append(got, read.function+" "+read.variable)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func (r room) holds(path string) bool {
	if r.path == "." {
		return path == module
	}
	return within(path, module+"/"+r.path)
}

func (r room) check(packages []pkg) []string {
	standard := map[string]bool{}
	for _, p := range packages {
		standard[p.ImportPath] = p.Standard
	}
	var problems []string
	for _, p := range packages {
		if !r.holds(p.ImportPath) {
			continue
		}
		name := strings.TrimPrefix(p.ImportPath, module+"/")
		for _, path := range p.Imports {
			if !standard[path] && !r.may(path) {
				problems = append(problems, name+" imports "+path)
			}
		}
		for _, path := range p.Deps {
			if slices.ContainsFunc(r.never, func(never string) bool { return forbids(never, path, standard[path]) }) {
				problems = append(problems, name+" depends on "+path)
			}
		}
	}
	return problems
}

func (r room) may(path string) bool {
	if !within(path, module) {
		return slices.ContainsFunc(r.libraries, func(prefix string) bool { return prefix == "any" || within(path, prefix) })
	}
	return r.holds(path) || slices.ContainsFunc(r.rooms, func(name string) bool { return name == "any" || (room{path: name}).holds(path) })
}

// forbids tells whether a package is one that must not be there. In the standard library a name
// stands for itself: database/sql/driver is an interface, not a database.
func forbids(never, path string, standard bool) bool {
	if standard {
		return path == never
	}
	return within(path, never)
}

func within(path, prefix string) bool {
	return path == prefix || strings.HasPrefix(path, prefix+"/")
}

type pkg struct {
	ImportPath, Dir        string
	Standard               bool
	GoFiles, Imports, Deps []string
}

// goList returns the module's packages and all that they depend on.
func goList(t *testing.T) []pkg {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Dir,Standard,GoFiles,Imports,Deps", "./...")
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	var packages []pkg
	decoder := json.NewDecoder(bytes.NewReader(out))
	for {
		var p pkg
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(fmt.Errorf("go list: %w", err))
		}
		packages = append(packages, p)
	}
}

type environmentRead struct {
	function, variable string
	at                 token.Pos
}

// environment finds where a file reads environment variables.
func environment(file *ast.File) []environmentRead {
	names := map[string]string{} // what the file calls os and syscall
	for _, spec := range file.Imports {
		path, _ := strconv.Unquote(spec.Path.Value)
		if path != "os" && path != "syscall" {
			continue
		}
		name := path
		if spec.Name != nil {
			name = spec.Name.Name
		}
		names[name] = path
	}
	constants := map[string]string{}
	arguments := map[*ast.SelectorExpr]string{}
	var reads []environmentRead
	ast.Inspect(file, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.ValueSpec:
			for i, name := range node.Names {
				if i < len(node.Values) {
					if literal, ok := node.Values[i].(*ast.BasicLit); ok {
						constants[name.Name], _ = strconv.Unquote(literal.Value)
					}
				}
			}
		case *ast.CallExpr:
			if function, ok := node.Fun.(*ast.SelectorExpr); ok && len(node.Args) == 1 {
				switch argument := node.Args[0].(type) {
				case *ast.BasicLit:
					arguments[function], _ = strconv.Unquote(argument.Value)
				case *ast.Ident:
					arguments[function] = argument.Name
				}
			}
		case *ast.SelectorExpr:
			library, ok := node.X.(*ast.Ident)
			if !ok || names[library.Name] == "" {
				return true
			}
			switch node.Sel.Name {
			case "Getenv", "LookupEnv", "Environ", "ExpandEnv":
				reads = append(reads, environmentRead{names[library.Name] + "." + node.Sel.Name, arguments[node], node.Pos()})
			}
		}
		return true
	})
	for i := range reads {
		if value, ok := constants[reads[i].variable]; ok {
			reads[i].variable = value
		}
	}
	return reads
}
