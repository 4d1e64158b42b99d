package forward

import (
	"bytes"
	"crypto/sha256"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/midspan/midspan/internal/eventlog"
	"github.com/midspan/midspan/internal/eventlog/memory"
	"github.com/midspan/midspan/internal/eventlog/sqlite"
)

// ledger knows what was sent, and holds against it what arrives.
type ledger struct {
	mu      sync.Mutex // guards everything below
	sent    map[string][sha256.Size]byte
	arrived map[string]int
	again   int // arrived more than once
	wrong   []*tracepb.ResourceSpans
	mode    mode
	unheard int // spans that were taken in requests without an answer
}

// mode is how the target treats a request.
type mode int

const (
	takes   mode = iota
	refuses      // "come again", without a look at it
	forgets      // takes it, and its answer gets lost
	modes
)

func sum(rs *tracepb.ResourceSpans) [sha256.Size]byte {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(rs)
	if err != nil {
		return [sha256.Size]byte{}
	}
	return sha256.Sum256(b)
}

func (l *ledger) send(r *exportRequest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, rs := range apart(r) {
		l.sent[string(spanOf(rs).SpanId)] = sum(rs)
	}
}

func (l *ledger) answer(r *exportRequest) (*exportResponse, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mode == refuses {
		return nil, status.Error(codes.Unavailable, "come again")
	}
	for _, rs := range apart(r) {
		id := string(spanOf(rs).SpanId)
		if want := l.sent[id]; want != sum(rs) && len(l.wrong) < 3 {
			l.wrong = append(l.wrong, rs)
		}
		if l.arrived[id]++; l.arrived[id] > 1 {
			l.again++
		}
	}
	if l.mode == forgets {
		l.unheard += count(r)
		return nil, status.Error(codes.Unavailable, "its answer is lost")
	}
	return &exportResponse{}, nil
}

func (l *ledger) set(m mode) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mode = m
}

// TestFlaps has a target go, come, refuse and forget its answers, in any order,
// while spans come in, the forwarder dies, the log is opened again and trimmed:
// each span arrives, as it was sent, and again only as far as is allowed.
// MIDSPAN_FLAPS says how long, of each driver of the log.
func TestFlaps(t *testing.T) {
	long := 300 * time.Millisecond
	if text := os.Getenv("MIDSPAN_FLAPS"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		long = d / 2
	}
	folder := t.TempDir()
	for _, driver := range []struct {
		name string
		open func() (eventlog.Log, error)
	}{
		{"memory", func() (eventlog.Log, error) {
			return memory.Open(memory.Config{MaxEvents: 1 << 30, MaxBytes: 1 << 30}), nil
		}},
		{"sqlite", func() (eventlog.Log, error) {
			return sqlite.Open(t.Context(), sqlite.Config{Folder: folder, Logger: quiet})
		}},
	} {
		t.Run(driver.name, func(t *testing.T) { flap(t, driver.open, driver.name == "sqlite", long) })
	}
}

func flap(t *testing.T, open func() (eventlog.Log, error), restarts bool, long time.Duration) {
	const batch, most = 256, 20_000 // spans under way, spans behind
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("MIDSPAN_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("MIDSPAN_SEED=%d", seed)
	random, m := rand.New(rand.NewPCG(seed, 1)), newMaker(seed)
	book := &ledger{sent: make(map[string][sha256.Size]byte), arrived: make(map[string]int)}
	target := &backend{answer: book.answer, forget: true}
	url, stop := target.serveGRPC(t, "127.0.0.1:0")
	address := strings.TrimPrefix(url, "grpc://")
	log, err := open()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	}()
	begin := func() *Forwarder {
		return start(t, Config{Log: log, Targets: []Target{{Name: "target", URL: url}}, BatchSpans: batch})
	}
	f := begin()
	cuts, deaths, up := 0, 0, true
	rise := func() {
		if !up {
			_, stop = target.serveGRPC(t, address)
			up = true
		}
	}
	die := func() {
		deaths++
		kill(f)
		if err := f.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
	behind := func() uint64 {
		_, last := log.Bounds()
		floor, _ := f.Floor()
		return last - floor
	}
	end := time.Now().Add(long)
	for round := 0; round < 12 || time.Now().Before(end); round++ {
		r := m.request(1 + random.IntN(300))
		book.send(r)
		receive(t, log, r)
		switch random.IntN(6) {
		case 0:
			if up {
				cuts++
				stop()
				up = false
			}
		case 1:
			rise()
		case 2:
			book.set(mode(random.IntN(int(modes))))
		case 3:
			die()
			if restarts {
				if err := log.Close(); err != nil {
					t.Fatal(err)
				}
				if log, err = open(); err != nil {
					t.Fatal(err)
				}
			}
			f = begin()
		case 4:
			floor, _ := f.Floor()
			if err := log.Trim(t.Context(), floor); err != nil {
				t.Fatal(err)
			}
		}
		if behind() > most {
			rise()
			book.set(takes)
			die() // what begins anew does not wait
			f = begin()
			poll(t, func() bool { return behind() < most/10 })
		}
	}
	rise()
	book.set(takes)
	die()
	f = begin()
	poll(t, func() bool { return behind() == 0 })
	book.mu.Lock()
	defer book.mu.Unlock()
	t.Logf("%d spans sent; the target went %d times, the forwarder died %d times; %d spans came again, %d of them for lost answers",
		len(book.sent), cuts, deaths, book.again, book.unheard)
	for _, rs := range book.wrong {
		t.Errorf("arrived otherwise than it was sent: %v", rs)
	}
	if len(book.arrived) != len(book.sent) {
		t.Errorf("%d spans of %d arrived", len(book.arrived), len(book.sent))
	}
	if allowed := book.unheard + (cuts+deaths)*batch; book.again > allowed {
		t.Errorf("%d spans came again, of %d that may", book.again, allowed)
	}
}

// A target that was away for long gets all of it, over the drivers that bridges
// use: more than a read, a request and a reader's buffer hold.
func TestBacklog(t *testing.T) {
	const spans = 4_000
	for _, name := range []string{"memory", "sqlite"} {
		t.Run(name, func(t *testing.T) {
			var log eventlog.Log = memory.Open(memory.Config{})
			if name == "sqlite" {
				var err error
				if log, err = sqlite.Open(t.Context(), sqlite.Config{Folder: t.TempDir(), Logger: quiet}); err != nil {
					t.Fatal(err)
				}
			}
			defer func() {
				if err := log.Close(); err != nil {
					t.Error(err)
				}
			}()
			var back atomic.Bool
			target, m := &backend{answer: func(*exportRequest) (*exportResponse, error) {
				if !back.Load() {
					return nil, status.Error(codes.Unavailable, "come again")
				}
				return &exportResponse{}, nil
			}}, newMaker(40)
			m.short = true
			url, _ := target.serveGRPC(t, "127.0.0.1:0")
			f := start(t, Config{Log: log, Targets: []Target{{URL: url}}})
			var sent []*exportRequest
			for range spans / 500 {
				sent = append(sent, m.request(500))
			}
			receive(t, log, sent...)
			poll(t, func() bool { return f.Stats()[0].Away })
			if s := f.Stats()[0]; s.LagEvents != spans || s.Lag <= 0 {
				t.Errorf("%+v", s)
			}
			back.Store(true)
			target.wait(t, spans)
			poll(t, func() bool { seq, _ := f.Floor(); return seq == spans })
			got := target.spans()
			if len(got) != spans {
				t.Errorf("%d spans arrived", len(got))
			}
			same(t, apart(sent...), got)
			if !inOrder(apart(sent...), got) {
				t.Error("they came in another order than by the requests under way")
			}
		})
	}
}

// inOrder reports whether no span came before one that was sent more than two
// requests earlier.
func inOrder(sent, got []*tracepb.ResourceSpans) bool {
	place := make(map[string]int, len(sent))
	for i, rs := range sent {
		place[string(spanOf(rs).SpanId)] = i
	}
	ahead := 0
	for _, rs := range got {
		at := place[string(spanOf(rs).SpanId)]
		if ahead = max(ahead, at); ahead-at > 2*DefaultBatchSpans {
			return false
		}
	}
	return true
}

// BenchmarkDrain measures how a backlog drains while spans come in, over the log
// on disk and to a target in the same process that decodes them: x-ingest is how
// many spans leave in the time in which one comes in as fast as it is taken.
func BenchmarkDrain(b *testing.B) {
	const spans = 50_000
	m := newMaker(41)
	m.short = true
	var requests [][]byte
	for range spans / 500 {
		body, err := proto.Marshal(m.request(500))
		if err != nil {
			b.Fatal(err)
		}
		requests = append(requests, body)
	}
	var ingest, drain time.Duration
	for b.Loop() {
		log, err := sqlite.Open(b.Context(), sqlite.Config{Folder: b.TempDir(), Logger: quiet})
		if err != nil {
			b.Fatal(err)
		}
		target := &backend{forget: true}
		url, stop := target.serveGRPC(b, "127.0.0.1:0")
		cfg := Config{Log: log, Targets: []Target{{URL: url}}}
		prepare(b, cfg) // it is known before the first span
		handler := newReceiver(b, log).Handler()
		began := time.Now()
		for _, body := range requests {
			post(b, handler, "/v1/traces", bytes.Clone(body))
		}
		ingest += time.Since(began)
		began = time.Now()
		f := start(b, cfg)
		poll(b, func() bool { seq, _ := f.Floor(); return seq == spans })
		drain += time.Since(began)
		if err := f.Stop(b.Context()); err != nil {
			b.Fatal(err)
		}
		stop()
		if err := log.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*spans)/drain.Seconds(), "spans/s")
	b.ReportMetric(float64(ingest)/float64(drain), "x-ingest")
}
