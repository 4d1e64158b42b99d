package bridge

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/index"
	"github.com/midspan/midspan/internal/history"
	"github.com/midspan/midspan/internal/transfer"
)

// change changes the data of a part of segment 0, as fn says, and returns what it was.
func change(t *testing.T, folder string, part int, fn func(data []byte) []byte) []byte {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(folder, "midspan.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var data []byte
	if err := db.QueryRowContext(t.Context(), "SELECT data FROM part WHERE id = ?", part).Scan(&data); err != nil {
		t.Fatal(err)
	}
	if fn != nil {
		if _, err := db.ExecContext(t.Context(), "UPDATE part SET data = ? WHERE id = ?", fn(bytes.Clone(data)), part); err != nil {
			t.Fatal(err)
		}
	}
	return data
}

// A bridge whose oldest segment is damaged takes what is new, shows all the rest and
// says what is missing; it changes nothing of the segment, and has it back when its
// bytes are.
func TestDamagedHistory(t *testing.T) {
	for part, name := range []string{"spans", "codes", "places", "text"} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			storage := Config{Storage: Storage{Folder: folder}}
			b := serve(t, storage)
			n := 0
			send := func() {
				list := make([]string, 500)
				for i := range list {
					n++
					list[i] = span(fmt.Sprintf("%032x", n), n, 0, int64(1_000_000*n), int64(1_000_000*n+1000))
				}
				b.send("/v1/traces", spans(text("service.name", "shop"), list...))
			}
			for range 26 {
				send()
			}
			b.stop()
			whole := change(t, folder, part, func(data []byte) []byte { data[len(data)/2] ^= 1; return data })
			bad := change(t, folder, part, nil)

			b = serve(t, storage)
			get := func(path string) (int, string) {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+b.Addr().String()+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := b.client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				if err != nil {
					t.Fatal(err)
				}
				return resp.StatusCode, string(body)
			}
			var page struct {
				Activities []seen `json:"activities"`
				Incomplete bool   `json:"incomplete"`
				Relation   string `json:"total_relation"`
			}
			for _, path := range []string{"/activity/all?sort=planned_at&limit=2", "/activity/all?q=step&sort=planned_at&limit=2", "/activity/at?time=0s&sort=planned_at&limit=2"} {
				page.Incomplete = false
				b.read(path, &page)
				if len(page.Activities) != 2 || page.Activities[0].Name != "step 4097" || !page.Incomplete || page.Relation != "gte" {
					t.Errorf("%s: %+v", path, page)
				}
			}
			for _, path := range []string{"/activity/tree", "/activity/stats?q=step", "/activity/summary?q=step"} {
				code, body := get(path)
				if code != http.StatusOK || !strings.Contains(body, `"incomplete":true`) && !strings.Contains(body, "may be missing") {
					t.Errorf("%s: %d %.300s", path, code, body)
				}
			}
			if _, body := get("/activity/stats?service=shop"); !strings.Contains(body, fmt.Sprintf(`"total":%d,`, n)) || strings.Contains(body, "incomplete") {
				t.Errorf("statistics by the counts, which are sound: %.300s", body)
			}
			if code, body := get(fmt.Sprintf("/activity/%032x-%016x", 7, 7)); code != http.StatusInternalServerError || !strings.Contains(body, "the "+name+" of segment 0: its checksum is wrong") {
				t.Errorf("one of the segment: %d %s", code, body)
			}
			if code, body := get(fmt.Sprintf("/activity/%032x-%016x", n, n)); code != http.StatusOK || strings.Contains(body, "incomplete") {
				t.Errorf("the newest: %d %.200s", code, body)
			}
			if code, body := get("/readyz"); code != http.StatusOK || !strings.Contains(body, `"damage":["the `+name+` of segment 0 of the history: its checksum is wrong"]`) {
				t.Errorf("ready: %d %s", code, body)
			}
			if _, body := get("/metrics"); !strings.Contains(body, "\nmidspan_history_damaged{") && !strings.Contains(body, "\nmidspan_history_damaged 1") {
				t.Error("the metric does not tell")
			}
			for range 10 {
				send()
			}
			b.stop()
			if now := change(t, folder, part, nil); !bytes.Equal(now, bad) {
				t.Error("what is damaged was changed")
			}
			r, err := history.Check(t.Context(), folder)
			if err != nil || len(r.Damages) != 1 || !strings.Contains(r.Damages[0].What, "the "+name+" of segment 0") || !strings.Contains(r.Damages[0].Advice, "shows all but these activities") {
				t.Errorf("%+v %v", r, err)
			}
			for _, format := range []transfer.Format{transfer.NDJSON, transfer.Jaeger} {
				if err := transfer.View(t.Context(), folder, func(x *index.Index) error {
					exported, err := transfer.Export(t.Context(), io.Discard, x, &activity.Filter{}, format)
					if exported != n-4096 || !errors.Is(err, activity.ErrUnreadable) {
						t.Errorf("%s: %d of %d are exported: %v", format, exported, n, err)
					}
					return nil
				}); err != nil {
					t.Error(err)
				}
			}

			change(t, folder, part, func([]byte) []byte { return whole })
			b = serve(t, storage)
			page.Incomplete = false
			b.read("/activity/all?sort=planned_at&limit=2", &page)
			if page.Incomplete || page.Activities[0].Name != "step 1" {
				t.Errorf("mended: %+v", page)
			}
			if code, _ := get(fmt.Sprintf("/activity/%032x-%016x", 7, 7)); code != http.StatusOK {
				t.Errorf("mended: %d", code)
			}
			if r, err := func() (*history.Report, error) { b.stop(); return history.Check(t.Context(), folder) }(); err != nil || len(r.Damages) != 0 || r.Finished != int64(n) {
				t.Errorf("mended: %+v %v", r, err)
			}
		})
	}
}
