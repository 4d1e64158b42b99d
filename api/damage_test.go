package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/pb33f/libopenapi-validator/schema_validation"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/index"
)

// damaged is a reader some of whose history can't be read.
type damaged struct{ *index.Index }

func (d *damaged) List(ctx context.Context, q *activity.Query) (*activity.Page, error) {
	p, err := d.Index.List(ctx, q)
	p.Incomplete, p.Exact = true, false
	return p, err
}

func (d *damaged) Get(ctx context.Context, of activity.ID) (*activity.Detail, error) {
	if of == id(3) {
		return nil, fmt.Errorf("load the text of segment 0: %w", activity.ErrUnreadable)
	}
	detail, err := d.Index.Get(ctx, of)
	detail.Incomplete = true
	return detail, err
}

func (d *damaged) Tree(ctx context.Context, q *activity.TreeQuery) (*activity.Tree, error) {
	t, err := d.Index.Tree(ctx, q)
	t.Incomplete = true
	return t, err
}

func (d *damaged) StatsOf(ctx context.Context, f *activity.Filter) (*activity.Stats, error) {
	st, err := d.Index.StatsOf(ctx, f)
	st.Incomplete = true
	return st, err
}

func (d *damaged) Scan(ctx context.Context, f *activity.Filter, fn func(*activity.Activity) error) error {
	if err := d.Index.Scan(ctx, f, fn); err != nil {
		return err
	}
	return activity.ErrUnreadable
}

// What may be missing from an answer is said in it, as the document has it, and in
// no answer of a sound history.
func TestIncomplete(t *testing.T) {
	model, err := openAPIModel(t).BuildV3Model()
	if err != nil {
		t.Fatal(err)
	}
	schemas := schema_validation.NewSchemaValidator()
	what := []string{"the text of segment 0 of the history: its checksum is wrong"}
	reader := new(damaged)
	sound := newWorld(t, nil)
	w := newWorld(t, func(c *Config, _ *index.Config) {
		c.Reader, c.Damage = reader, func() ([]string, bool) { return what, true }
	})
	reader.Index = w.Index
	w.Apply(story())
	sound.Apply(story())
	check := func(schema, object string) {
		t.Helper()
		if ok, errs := schemas.ValidateSchemaString(model.Model.Components.Schemas.GetOrZero(schema).Schema(), object); !ok {
			t.Errorf("%s: %v in %s", schema, errs, object)
		}
	}
	for path, schema := range map[string]string{
		"/activity/all": "Page", "/activity/tree": "Tree", "/activity/" + id(1).String(): "Detail", "/activity/stats?service=orders": "Stats",
	} {
		status, _, body := w.get(t, path)
		if status != http.StatusOK || !strings.Contains(body, `"incomplete":true`) {
			t.Errorf("%s: %d %s", path, status, body)
		}
		check(schema, body)
		if _, _, body := sound.get(t, path); strings.Contains(body, "incomplete") {
			t.Errorf("%s of what is sound: %s", path, body)
		}
	}
	if _, _, body := w.get(t, "/activity/summary", "Accept", "application/json"); !strings.Contains(body, `"incomplete":true`) {
		t.Errorf("the summary: %s", body)
	} else {
		check("Summary", body)
	}
	if _, _, body := w.get(t, "/activity/summary"); !strings.Contains(body, "may be missing") {
		t.Errorf("the summary: %s", body)
	}
	status, _, body := w.get(t, "/readyz")
	if status != http.StatusOK || !strings.Contains(body, what[0]) {
		t.Errorf("ready: %d %s", status, body)
	}
	check("Ready", body)
	for range 30 {
		what = append(what, what[0])
	}
	if _, _, body := w.get(t, "/readyz"); strings.Count(body, "checksum") != maxDamage || !strings.Contains(body, "and 21 more") {
		t.Errorf("ready: %s", body)
	}
	if status, _, body := w.get(t, "/activity/"+id(3).String()); status != http.StatusInternalServerError || !strings.Contains(body, "the text of segment 0") {
		t.Errorf("one that is damaged: %d %s", status, body)
	}
	c := w.dial(t, "?hello=1")
	hello, err := c.read()
	if err != nil || !strings.Contains(hello, `"incomplete":true`) {
		t.Errorf("hello: %s %v", hello, err)
	}
	check("StreamMessage", hello)

	// All that can be read is exported, and then broken off.
	_, _, want := sound.get(t, "/activity/export?format=ndjson")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+"/activity/export?format=ndjson", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var got strings.Builder
	for part := make([]byte, 1<<16); err == nil; {
		var n int
		n, err = res.Body.Read(part)
		got.Write(part[:n])
	}
	if err.Error() == "EOF" || got.String() != want {
		t.Errorf("the export ends with %v after %d of %d bytes", err, got.Len(), len(want))
	}
	var csv strings.Builder
	if n, err := WriteCSV(t.Context(), &csv, reader, &activity.Filter{}); err == nil || strings.Count(csv.String(), "\r\n") <= n && strings.Count(csv.String(), "\n") <= n {
		t.Errorf("%d rows of CSV: %v", n, err)
	}
}
