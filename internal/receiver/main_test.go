package receiver

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/index"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newIndex() *index.Index { return index.New(index.Config{}) }

// sink appends to an index.
type sink struct{ *index.Index }

func (s sink) Append(_ context.Context, events []activity.Event) error {
	s.Apply(events)
	return nil
}

func newReceiver(t *testing.T, cfg Config) *Receiver {
	t.Helper()
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// post sends a body to the receiver's handler.
func post(t *testing.T, r *Receiver, path string, body []byte, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	req := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
	req.Header.Set("Content-Type", typeJSON)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	r.Handler().ServeHTTP(w, req)
	return w
}

// mustPost sends a body that is taken whole.
func mustPost(t *testing.T, r *Receiver, path string, body []byte) {
	t.Helper()
	w := post(t, r, path, body)
	if got := w.Body.String(); w.Code != http.StatusOK || got != "{}" && got != `{"partialSuccess":{}}` {
		t.Fatalf("%s answered %d %s", path, w.Code, got)
	}
}

// dial returns a connection to the receiver as a gRPC server.
func dial(t *testing.T, r *Receiver) *grpc.ClientConn {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := r.GRPCServer()
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		s.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return conn
}

func id(t *testing.T, text string) activity.ID {
	t.Helper()
	id, err := activity.ParseID(text)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func get(t *testing.T, x *index.Index, id activity.ID) *activity.Activity {
	t.Helper()
	d, err := x.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return d.Activity
}

func count(t *testing.T, x *index.Index) int {
	t.Helper()
	n := 0
	if err := x.Scan(t.Context(), &activity.Filter{}, func(*activity.Activity) error { n++; return nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

func tree(t *testing.T, x *index.Index) *activity.Tree {
	t.Helper()
	tr, err := x.Tree(t.Context(), &activity.TreeQuery{Depth: math.MaxInt32, Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// sent is one request of a fixture.
type sent struct {
	Path string          `json:"path"`
	Body json.RawMessage `json:"body"`
}

func fixture(t *testing.T, name string) []sent {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	var requests []sent
	if err := json.Unmarshal(text, &requests); err != nil {
		t.Fatal(err)
	}
	return requests
}
