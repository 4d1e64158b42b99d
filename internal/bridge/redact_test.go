package bridge

import (
	"bytes"
	"compress/gzip"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/klauspost/compress/zstd"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/internal/forward"
	"github.com/midspan/midspan/internal/redact"
	"github.com/midspan/midspan/internal/redact/canary"
)

var canaries = slices.Concat(canary.Known, canary.HeldOut)

const canarySeed = 7

// recorder keeps what is written to it, and is an OTLP target that keeps what
// it is sent.
type recorder struct {
	mu    sync.Mutex // guards everything below
	said  bytes.Buffer
	spans int
}

func (r *recorder) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.said.Write(b)
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, h *http.Request) {
	body := io.Reader(h.Body)
	if h.Header.Get("Content-Encoding") == "gzip" {
		body, _ = gzip.NewReader(h.Body)
	}
	sent, err := io.ReadAll(body)
	req := ptraceotlp.NewExportRequest()
	if err != nil || req.UnmarshalProto(sent) != nil {
		http.Error(w, "no OTLP", http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.said.Write(sent)
	r.spans += req.Traces().SpanCount()
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func (r *recorder) all() ([]byte, int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Clone(r.said.Bytes()), r.spans
}

// canaryTraces returns a span for each canary, with its secret in every place
// that a span has.
func canaryTraces() ptrace.Traces {
	td := ptrace.NewTraces()
	for i, c := range canaries {
		secret := c.Secret(canarySeed)
		m := c.Mention(secret)
		key, held := c.Key, secret
		if key == "" {
			key, held = "note", m
		}
		rs := td.ResourceSpans().AppendEmpty()
		rs.SetSchemaUrl("https://example.com/" + m)
		rs.Resource().Attributes().PutStr("service.name", "shop "+m)
		rs.Resource().Attributes().PutStr("service.instance.id", m)
		rs.Resource().Attributes().PutStr(key, held)
		ss := rs.ScopeSpans().AppendEmpty()
		ss.Scope().SetName(m)
		ss.Scope().SetVersion(m)
		ss.Scope().Attributes().PutStr(key, held)
		s := ss.Spans().AppendEmpty()
		s.SetTraceID(pcommon.TraceID{1, byte(i)})
		s.SetSpanID(pcommon.SpanID{1, byte(i)})
		s.SetName("call " + m)
		s.TraceState().FromRaw("vendor=" + m)
		s.SetStartTimestamp(pcommon.Timestamp(time.Now().UnixNano()))
		s.SetEndTimestamp(s.StartTimestamp() + 1)
		s.Status().SetCode(ptrace.StatusCodeError)
		s.Status().SetMessage("it failed: " + m)
		s.Attributes().PutStr(key, held)
		s.Attributes().PutStr("message", m)
		s.Attributes().PutStr(m, "x")
		s.Attributes().PutEmptySlice("list").AppendEmpty().SetStr(m)
		s.Attributes().PutEmptyMap("config").PutStr(key, held)
		s.Attributes().PutEmptyBytes("raw").FromRaw([]byte(m))
		s.Attributes().PutStr(activity.KeyFinal, "Called "+m)
		s.Attributes().PutStr(activity.KeyResult, fmt.Sprintf(`{"said":%q}`, m))
		l := s.Links().AppendEmpty()
		l.SetTraceID(pcommon.TraceID{2})
		l.SetSpanID(pcommon.SpanID{2})
		l.TraceState().FromRaw("vendor=" + m)
		l.Attributes().PutStr(key, held)
		e := s.Events().AppendEmpty()
		e.SetName("retry " + m)
		e.Attributes().PutStr(key, held)
	}
	return td
}

// canaryLogs returns log events of activities that are open, and of one that
// fails, with the secret of each canary in every place that they have, and a
// process that is not heard of again.
func canaryLogs() plog.Logs {
	ld := plog.NewLogs()
	for i, c := range canaries {
		m := c.Mention(c.Secret(canarySeed))
		rl := ld.ResourceLogs().AppendEmpty()
		rl.Resource().Attributes().PutStr("service.name", "desk "+m)
		rl.Resource().Attributes().PutStr("service.instance.id", m)
		rl.Resource().Attributes().PutStr(activity.KeyLeaseID, fmt.Sprint("lease-", i))
		sl := rl.ScopeLogs().AppendEmpty()
		event := func(n byte, name string) plog.LogRecord {
			r := sl.LogRecords().AppendEmpty()
			r.SetTraceID(pcommon.TraceID{3, byte(i)})
			r.SetSpanID(pcommon.SpanID{n, byte(i)})
			r.SetTimestamp(pcommon.Timestamp(time.Now().UnixNano()))
			r.SetEventName(name)
			r.Attributes().PutStr(activity.KeyName, "work "+m)
			return r
		}
		planned := event(1, "activity.planned")
		planned.Attributes().PutStr(activity.KeyType, "decision")
		planned.Attributes().PutStr(activity.KeyPlanned, "Will use "+m)
		planned.Attributes().PutStr(activity.KeyReasoning, m)
		planned.Attributes().PutStr(activity.KeyThreadID, m)
		event(1, "activity.started").Attributes().PutStr(activity.KeyCurrent, "Using "+m)
		event(2, "activity.failed").Attributes().PutStr(activity.KeyErrorMessage, m)
		renewed := event(1, activity.LeaseRenewed)
		renewed.Attributes().PutInt(activity.KeyLeaseTTL, activity.MinLeaseTTL.Milliseconds())
	}
	return ld
}

func post(t *testing.T, b *served, path, kind string, body []byte) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+b.HTTPAddr().String()+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", kind)
	resp, err := b.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %s %v", path, resp.Status, answer, err)
	}
	return answer
}

// canarySurfaces sends every canary to a bridge and returns all that can be read
// of it then, by where it was read.
func canarySurfaces(t *testing.T, cfg *redact.Config) map[string][]byte {
	log, target := &recorder{}, &recorder{}
	to := httptest.NewServer(target)
	defer to.Close()
	folder := t.TempDir()
	b := serve(t, Config{
		Storage: Storage{Folder: folder}, Redact: cfg,
		Forward: forward.Config{Targets: []forward.Target{{URL: to.URL}}},
		Logger:  slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	stream, _, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+b.Addr().String()+"/activity/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	surfaces := map[string][]byte{}
	begin := time.Now().Add(-time.Second)
	traces, err := ptraceotlp.NewExportRequestFromTraces(canaryTraces()).MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	logs, err := plogotlp.NewExportRequestFromLogs(canaryLogs()).MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	const whole = "\n\x00" // an empty partial success
	if answer := append(post(t, b, "/v1/traces", "application/x-protobuf", traces), post(t, b, "/v1/logs", "application/x-protobuf", logs)...); string(answer) != whole+whole {
		t.Errorf("not all was taken: %q", answer)
	}
	for _, c := range canaries {
		surfaces["answers to the sender"] = append(surfaces["answers to the sender"], post(t, b, "/v1/traces", "application/json", fmt.Appendf(nil,
			`{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":%q,"spanId":"0000000000000001","startTimeUnixNano":%q}]}]}]}`, trace, c.Mention(c.Secret(canarySeed))))...)
	}

	// The last messages of the stream are those of what was lost with its process.
	lost := 0
	if err := stream.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	for lost < len(canaries) {
		_, m, err := stream.ReadMessage()
		if err != nil {
			t.Fatalf("after %d of %d that are lost: %v", lost, len(canaries), err)
		}
		surfaces["stream"] = append(surfaces["stream"], m...)
		lost += bytes.Count(m, []byte(`"event":"lost"`))
	}
	eventually(t, time.Minute, func() string {
		sent, n := target.all()
		surfaces["forward target"] = sent
		if n < len(canaries) {
			return fmt.Sprintf("%d of %d spans were forwarded", n, len(canaries))
		}
		return ""
	})
	for _, path := range []string{
		"/activity/all?limit=1000", "/activity/tree?limit=1000", "/activity/decisions?limit=1000", "/activity/stats", "/activity/summary", "/metrics", "/healthz",
		"/activity/at?limit=1000&time=" + time.Now().UTC().Format(time.RFC3339Nano),
		"/activity/export?format=json", "/activity/export?format=ndjson", "/activity/export?format=csv", "/activity/export?format=otlp",
	} {
		var answer string
		b.read(path, &answer)
		path, _, _ = strings.Cut(path, "limit")
		surfaces[path] = []byte(answer)
	}
	replay, _, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+b.Addr().String()+"/activity/replay?speed=1000&from="+begin.UTC().Format(time.RFC3339Nano), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer replay.Close()
	for !bytes.Contains(surfaces["replay"], []byte(`"event":"end"`)) {
		_, m, err := replay.ReadMessage()
		if err != nil {
			t.Fatalf("replay: %v", err)
		}
		surfaces["replay"] = append(surfaces["replay"], m...)
	}
	for i := range canaries {
		var answer string
		b.read("/activity/activity/"+activity.ID{Trace: activity.TraceID{1, byte(i)}, Span: activity.SpanID{1, byte(i)}}.String(), &answer)
		surfaces["/activity/activity/{id}"] = append(surfaces["/activity/activity/{id}"], answer...)
	}
	files := func(when string) {
		err := filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := os.ReadFile(path)
			surfaces[filepath.Base(path)+", "+when] = data
			if errors.Is(err, os.ErrNotExist) {
				return nil
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	files("running")
	b.stop()
	files("stopped")
	surfaces["midspan.db, stopped"] = append(surfaces["midspan.db, stopped"], values(t, filepath.Join(folder, "midspan.db"))...)
	surfaces["log"], _ = log.all()
	return surfaces
}

// values returns all values of a database, unpacked: the file itself holds most of
// them packed, and what is left of the log's pages, which others use again.
func values(t *testing.T, path string) (all []byte) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	unpack, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer unpack.Close()
	read := func(query string) (found []byte, rows int) {
		r, err := db.QueryContext(t.Context(), query)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		columns, err := r.Columns()
		if err != nil {
			t.Fatal(err)
		}
		row, dest := make([]sql.RawBytes, len(columns)), make([]any, len(columns))
		for i := range row {
			dest[i] = &row[i]
		}
		for ; r.Next(); rows++ {
			if err := r.Scan(dest...); err != nil {
				t.Fatal(err)
			}
			for _, value := range row {
				found = append(append(found, value...), 0)
				const header = 5 // of a packed value, see docs/format.md
				if len(value) > header {
					if data, err := unpack.DecodeAll(value[header:], nil); err == nil {
						found = append(found, data...)
					}
				}
			}
		}
		if err := r.Err(); err != nil {
			t.Fatal(err)
		}
		return found, rows
	}
	tables, n := read("SELECT name FROM sqlite_schema WHERE type = 'table'")
	if n == 0 {
		t.Fatalf("%s has no tables", path)
	}
	for name := range bytes.SplitSeq(bytes.TrimSuffix(tables, []byte{0}), []byte{0}) {
		found, _ := read("SELECT * FROM " + string(name))
		all = append(all, found...)
	}
	return all
}

// No part of any secret is left anywhere once it came in: not in the database or
// its write-ahead log, on the stream, in an answer of the API, in an export, at
// a forward target, in our own log. The control, without redaction, finds them.
func TestCanaries(t *testing.T) {
	f := canary.NewFinder(canaries, canarySeed)
	t.Run("redacted", func(t *testing.T) {
		t.Parallel()
		surfaces := canarySurfaces(t, &redact.Config{})
		for name, text := range surfaces {
			if found := f.Find(text); len(found) > 0 {
				t.Errorf("%s (%d bytes): secrets of %d kinds are left: %s", name, len(text), len(found), found)
			}
		}
		for line := range strings.Lines(string(surfaces["/metrics"])) {
			if strings.HasPrefix(line, "midspan_redact_secrets_total{") && strings.Contains(line, `midspan_redact_rule="token"`) && !strings.HasSuffix(line, " 0\n") {
				return
			}
		}
		t.Error("/metrics does not count what was taken out")
	})
	t.Run("control", func(t *testing.T) {
		t.Parallel()
		surfaces := canarySurfaces(t, nil)
		for name, least := range map[string]int{
			"stream": len(canaries), "replay": len(canaries), "/activity/all?": len(canaries), "/activity/tree?": len(canaries), "/activity/decisions?": len(canaries),
			"/activity/at?": len(canaries), "/activity/activity/{id}": len(canaries), "/activity/stats": 50, "/activity/summary": 1,
			"/activity/export?format=json": len(canaries), "/activity/export?format=ndjson": len(canaries), "/activity/export?format=csv": len(canaries),
			"/activity/export?format=otlp": len(canaries), "forward target": len(canaries), "answers to the sender": 200, "log": len(canaries),
			"midspan.db-wal, running": len(canaries), "midspan.db, stopped": len(canaries),
		} {
			if found := f.Find(surfaces[name]); len(found) < least {
				t.Errorf("%s (%d bytes): %d kinds are found, want %d", name, len(surfaces[name]), len(found), least)
			}
		}
	})
}
