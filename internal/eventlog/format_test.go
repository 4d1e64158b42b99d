package eventlog

import (
	"encoding/hex"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/midspan/midspan/activity"
)

// TestFormat holds the example of docs/format.md to the code, byte for byte.
func TestFormat(t *testing.T) {
	doc, err := os.ReadFile("../../docs/format.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(doc), "### An example")
	_, example, _ = strings.Cut(example, "```\n")
	example, _, _ = strings.Cut(example, "```")
	var text string
	for _, line := range regexp.MustCompile(`(?m)^((?:[0-9a-f]{2} ?)+) {2,}\S`).FindAllStringSubmatch(example, -1) {
		text += strings.ReplaceAll(line[1], " ", "")
	}
	want, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	events := []activity.Event{{
		At: 1000, ID: id(1, 2), Kind: activity.EventStarted, First: true,
		Changes: activity.Changes{
			Name: "GET", Resource: &activity.Resource{Service: "orders"},
			Attrs: []activity.Attr{{Key: "n", Value: activity.IntValue(5)}},
		},
	}}
	got, err := EncodeBatch(nil, events)
	if err != nil {
		t.Fatal(err)
	}
	got = SealBatch(got, 7, 99)
	if string(got) != string(want) {
		t.Errorf("the batch is\n%x, docs/format.md says\n%x", got, want)
	}
	if read := decode(t, want, 7, 99); len(read) != 1 || read[0].Name != "GET" || read[0].Seq != 7 {
		t.Errorf("read %+v", read)
	}
}
