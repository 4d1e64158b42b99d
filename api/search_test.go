package api

import (
	"encoding/json"
	"net/http"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The dashboard filters what it holds by itself. Its tests read the same file:
// each search there gives these parameters, and finds the same in all.json.
func TestSearches(t *testing.T) {
	data, err := os.ReadFile("testdata/searches.json")
	if err != nil {
		t.Fatal(err)
	}
	var searches []struct {
		Search, Params string
		Finds          []string
	}
	if err := json.Unmarshal(data, &searches); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, nil)
	w.Apply(story())
	for _, tt := range searches {
		t.Run(tt.Search, func(t *testing.T) {
			status, _, body := w.get(t, "/activity/all?"+tt.Params)
			if status != http.StatusOK {
				t.Fatalf("status %d: %s", status, body)
			}
			var page struct{ Activities []struct{ Name string } }
			if err := json.Unmarshal([]byte(body), &page); err != nil {
				t.Fatal(err)
			}
			found := []string{}
			for _, a := range page.Activities {
				found = append(found, a.Name)
			}
			if diff := cmp.Diff(tt.Finds, found); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}
