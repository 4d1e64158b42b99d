package receiver

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/midspan/midspan/activity"
)

// Who has been read for longest gives way, and only after its time.
func TestReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &reading{free: 3}
		cuts := make([]int, 5)
		join := func(n, bytes int) *upload { return q.join(bytes, func() { cuts[n]++ }) }
		first, second := join(0, 1), join(1, 1)
		if !second.grow(1) || first.grow(1) || join(2, 1) != nil {
			t.Fatal("the bound does not hold")
		}
		time.Sleep(patience)
		if first.grow(1) {
			t.Error("the slowest has others give way to it")
		}
		third := join(2, 2)
		if third == nil || fmt.Sprint(cuts) != "[1 1 0 0 0]" || second.grow(1) || !first.leave() || !second.leave() {
			t.Fatalf("%v, %v", third, cuts)
		}
		if join(3, 2) != nil || cuts[2] != 0 {
			t.Error("one that has only begun gave way")
		}
		if fourth := join(4, 1); fourth == nil || third.leave() || fourth.leave() || q.free != 3 || q.all.Len() != 0 {
			t.Errorf("%d are free, %d are read", q.free, q.all.Len())
		}
	})
}

// waitFor waits until so many uploads of a signal are read.
func (r *Receiver) waitFor(t *testing.T, s *signal, uploads int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for tick := time.NewTicker(time.Millisecond); ; {
		q := &r.reading[s.number]
		q.mu.Lock()
		n := q.all.Len()
		q.mu.Unlock()
		if n == uploads {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%d uploads are read, want %d", n, uploads)
		}
	}
}

// outwait makes what is read older than patience.
func (r *Receiver) outwait(s *signal) {
	q := &r.reading[s.number]
	q.mu.Lock()
	defer q.mu.Unlock()
	for e := q.all.Front(); e != nil; e = e.Next() {
		e.Value.(*upload).begun = time.Now().Add(-patience)
	}
}

func serveHTTP(t *testing.T, r *Receiver) (address string) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := r.HTTPServer()
	done := make(chan error, 1)
	go func() { done <- Serve(server, l) }()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return l.Addr().String()
}

// stall sends the head of a request and one byte of its body.
func stall(t *testing.T, address, path string) net.Conn {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{", path); err != nil {
		t.Fatal(err)
	}
	return conn
}

// deafness counts how often leases were told of a renewal that may be lost.
type deafness struct{ times atomic.Int64 }

func (*deafness) Renewed(*activity.Resource, time.Duration, uint64, activity.Time) error { return nil }
func (*deafness) Ended(*activity.Resource)                                               {}
func (*deafness) Seen(*activity.Resource)                                                {}
func (d *deafness) Deaf()                                                                { d.times.Add(1) }

// Uploads that stand still stop nobody: by HTTP they take next to nothing of what
// may be read, and where there is no room they give way.
func TestStalledUploads(t *testing.T) {
	x, deaf := newIndex(), new(deafness)
	// Room for two that have not sent more than a buffer's worth.
	r := newReceiver(t, Config{Sink: sink{x}, Leases: deaf, MaxPending: 2, MaxBytes: sizes[0]})
	address := serveHTTP(t, r)
	send := func(s *signal) int { return post(t, r, s.path, []byte("{}")).Code }
	for _, s := range served {
		first := stall(t, address, s.path)
		r.waitFor(t, s, 1)
		if code := send(s); code != http.StatusOK {
			t.Errorf("%s: one fewer than the bound stand still: %d", s.path, code)
		}
		stall(t, address, s.path)
		r.waitFor(t, s, 2)
		if code := send(s); code != http.StatusTooManyRequests {
			t.Errorf("%s: as many as the bound have only begun: %d", s.path, code)
		}
		r.outwait(s)
		if code := send(s); code != http.StatusOK {
			t.Errorf("%s: as many as the bound stand still: %d", s.path, code)
		}
		answer, err := io.ReadAll(first)
		if !bytes.HasPrefix(answer, []byte("HTTP/1.1 429 ")) || !bytes.Contains(answer, []byte("Retry-After: 1")) {
			t.Errorf("%s: who gave way is answered %q, %v", s.path, answer, err)
		}
	}
	if got := r.Stats().Refused; got != 4 || deaf.times.Load() != 2 {
		t.Errorf("%d are counted as refused, %d as renewals that may be lost", got, deaf.times.Load())
	}
}

// 64 stalled uploads leave room for as many again by the defaults.
func TestManyStalledUploads(t *testing.T) {
	r := newReceiver(t, Config{Sink: sink{newIndex()}})
	address := serveHTTP(t, r)
	for range 2 * DefaultMaxPending {
		stall(t, address, "/v1/traces")
	}
	r.waitFor(t, served[traces], 2*DefaultMaxPending)
	if w := post(t, r, "/v1/traces", marshal(t, goodSpans(1, 0)), "Content-Type", typeProto); w.Code != http.StatusOK {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// By gRPC each call that has not come counts as the largest.
func TestStalledCalls(t *testing.T) {
	r := newReceiver(t, Config{Sink: sink{newIndex()}, MaxPending: 1})
	conn := dial(t, r)
	stream, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true}, "/"+served[traces].service+"/Export", grpc.ForceCodec(bytesCodec{}))
	if err != nil {
		t.Fatal(err)
	}
	r.waitFor(t, served[traces], 1)
	client := ptraceotlp.NewGRPCClient(conn)
	if _, err := client.Export(t.Context(), goodSpans(1, 0)); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("beyond the bound: %v", err)
	}
	r.outwait(served[traces])
	if _, err := client.Export(t.Context(), goodSpans(1, 0)); err != nil {
		t.Errorf("when the first stands still: %v", err)
	}
	if err := stream.RecvMsg(new(rawMessage)); status.Code(err) != codes.ResourceExhausted || len(status.Convert(err).Details()) != 1 {
		t.Errorf("who gave way is answered %v", err)
	}
}

// A request of logs that was read is known to hold no renewal.
func TestDeafToRenewalsAlone(t *testing.T) {
	deaf := new(deafness)
	held := &blocked{make(chan struct{}), make(chan struct{})}
	r := newReceiver(t, Config{Sink: held, Leases: deaf, MaxPending: 1})
	const record = `{"resourceLogs":[{"resource":{"attributes":[{"key":"midspan.lease.id","value":{"stringValue":"one"}}]},"scopeLogs":[{"logRecords":[{"eventName":"%s","traceId":"4bf92f3577b34da6a3ce929d0e0e4736","spanId":"00f067aa0ba902b7","timeUnixNano":"1"}]}]}]}`
	done := make(chan int, 1)
	go func() {
		done <- post(t, r, "/v1/logs", []byte(strings.Replace(record, "%s", "activity.started", 1))).Code
	}()
	select {
	case <-held.entered:
	case code := <-done:
		t.Fatalf("the first: %d", code)
	}
	for i, body := range []string{"{}", strings.Replace(record, "%s", activity.LeaseRenewed, 1)} {
		if code := post(t, r, "/v1/logs", []byte(body)).Code; code != http.StatusTooManyRequests || deaf.times.Load() != int64(i) {
			t.Errorf("%s: %d, deaf %d times", body, code, deaf.times.Load())
		}
	}
	if code := post(t, r, "/v1/logs", pack(t, "gzip", []byte("{}")), "Content-Encoding", "gzip").Code; code != http.StatusTooManyRequests || deaf.times.Load() != 2 {
		t.Errorf("packed: %d, deaf %d times", code, deaf.times.Load())
	}
	held.release <- struct{}{}
	if code := <-done; code != http.StatusOK {
		t.Errorf("the first: %d", code)
	}
}

// A body moves through all buffers, and what is counted is what was taken.
func TestBodies(t *testing.T) {
	const limit = 3 << 20
	r := newReceiver(t, Config{Sink: sink{newIndex()}, MaxBytes: limit, MaxPending: 1})
	for _, size := range append(sizes[:], 1, sizes[0]-1, sizes[1]+1, limit-1, limit, limit+1, maxDiscarded) {
		for _, known := range []bool{true, false} {
			// Spaces and an empty object of JSON.
			body := append(bytes.Repeat([]byte(" "), max(size-2, 0)), "{}"[max(2-size, 0):]...)
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/traces", io.NopCloser(bytes.NewReader(body)))
			if err != nil {
				t.Fatal(err)
			}
			if req.ContentLength = -1; known {
				req.ContentLength = int64(size)
			}
			var got buffer
			why := r.read(served[traces], nil, req, &got)
			if (why != nil) != (size > limit) || why == nil && !bytes.Equal(got.b, body) {
				t.Errorf("%d bytes: %v, %d read", size, why, len(got.b))
			}
			got.free()
			if rest, err := io.Copy(io.Discard, req.Body); rest != 0 || err != nil {
				t.Errorf("%d bytes: %d are left, %v", size, rest, err)
			}
			if q := &r.reading[traces]; q.free != limit || q.all.Len() != 0 {
				t.Errorf("%d bytes: %d are free", size, q.free)
			}
		}
	}
}

// Who sends too much sees the answer, not a broken connection; who asks first is
// not asked for it.
func TestAnswersBeforeTheEnd(t *testing.T) {
	r := newReceiver(t, Config{Sink: sink{newIndex()}, MaxBytes: 1000})
	address := serveHTTP(t, r)
	client := &http.Client{Transport: &http.Transport{ExpectContinueTimeout: time.Minute}}
	defer client.CloseIdleConnections()
	for _, expect := range []string{"", "100-continue"} {
		body := &counting{r: bytes.NewReader(make([]byte, 4<<20))}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+"/v1/traces", body)
		if err != nil {
			t.Fatal(err)
		}
		req.ContentLength = 4 << 20
		req.Header.Set("Content-Type", typeProto)
		if expect != "" {
			req.Header.Set("Expect", expect)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if sent := body.n.Load(); resp.StatusCode != http.StatusRequestEntityTooLarge || (sent == 4<<20) != (expect == "") {
			t.Errorf("Expect %q: %s after %d bytes", expect, resp.Status, sent)
		}
	}
}

type counting struct {
	r io.Reader
	n atomic.Int64
}

func (c *counting) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n.Add(int64(n))
	return n, err
}
