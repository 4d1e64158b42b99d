//go:build e2e

package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	otel "go.opentelemetry.io/otel/attribute"
	"go.uber.org/goleak"

	"github.com/midspan/midspan"
	words "github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/index"
	"github.com/midspan/midspan/tracing"
)

const (
	loadMakers  = 16
	loadEach    = 62_500
	loadMade    = loadMakers * loadEach // 1,000,000
	loadStreams = 25
	loadReaders = 25
	loadShards  = 1000 // a stream follows the activities of one of them
)

// TestLoad holds that nothing is lost or counted twice while 16 goroutines make 1,000,000 activities and 50 clients
// read and stream over HTTP, and that no goroutine is left.
func TestLoad(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	m, err := midspan.New(midspan.Config{
		Service: "load", NoGlobals: true, NoDashboard: true,
		// Everything is held, so everything can be counted.
		Index: index.Config{MaxFinished: -1, MaxBytes: -1, MaxEvents: 5 * loadMade},
	})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- m.Serve(ctx, listener) }()
	address := listener.Addr().String()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: loadReaders}}
	defer client.CloseIdleConnections()

	var streaming, reading sync.WaitGroup
	streams := make([]*follower, loadStreams)
	ready := make(chan struct{}, loadStreams)
	for k := range streams {
		// The last one takes every end.
		query, want := url.Values{"attr.shard": {fmt.Sprint(k)}}, loadMade/loadShards
		if k == loadStreams-1 {
			query, want = url.Values{"state": {"COMPLETED", "FAILED", "CANCELLED"}}, loadMade
		}
		streams[k] = &follower{address: address, query: query, want: int64(want)}
		streaming.Go(func() {
			if err := streams[k].follow(ctx, ready); err != nil {
				t.Errorf("stream %d (%s): %v", k, query.Encode(), err)
				cancel()
			}
		})
	}
	for range streams {
		select {
		case <-ready:
		case <-ctx.Done():
			t.Fatal("the streams do not begin")
		}
	}
	stop := make(chan struct{})
	var reads atomic.Int64
	for k := range loadReaders {
		reading.Go(func() {
			r := &loadReader{client: client, address: "http://" + address}
			for n := k; ; n++ {
				if err := r.read(ctx, n); err != nil {
					t.Errorf("reader %d: %v", k, err)
					return
				}
				reads.Add(1)
				select {
				case <-stop:
					return
				case <-ctx.Done():
					return
				case <-time.After(500 * time.Millisecond): // as often as a person's page asks
				}
			}
		})
	}

	began := time.Now()
	var counts [3]atomic.Int64 // completed, failed, cancelled
	var makers sync.WaitGroup
	for g := range loadMakers {
		makers.Go(func() { makeLoad(tracing.ContextWithProvider(ctx, m.TracerProvider()), g, &counts) })
	}
	makers.Wait()
	made := time.Since(began)
	close(stop)
	reading.Wait()
	streaming.Wait()
	t.Logf("%d activities in %v, %.0f a second, %d requests beside; streams were done after %v",
		loadMade, made.Round(time.Millisecond), loadMade/made.Seconds(), reads.Load(), time.Since(began).Round(time.Millisecond))

	var stats struct {
		Total   int64            `json:"total"`
		Active  int64            `json:"active"`
		ByState map[string]int64 `json:"by_state"`
		Windows map[string]struct {
			Started  int64 `json:"started"`
			Finished int64 `json:"finished"`
		} `json:"windows"`
		Held struct {
			Finished int64 `json:"finished"`
			InFlight int64 `json:"in_flight"`
		} `json:"held"`
		Evicted, Ignored, Leaked int64
		NotIndexed               int64 `json:"not_indexed"`
	}
	if err := get(ctx, "http://"+address+"/activity/stats", &stats); err != nil {
		t.Fatal(err)
	}
	for _, count := range []struct {
		name      string
		got, want int64
	}{
		{"total", stats.Total, loadMade},
		{"active", stats.Active, 0},
		{"completed", stats.ByState["COMPLETED"], counts[0].Load()},
		{"failed", stats.ByState["FAILED"], counts[1].Load()},
		{"cancelled", stats.ByState["CANCELLED"], counts[2].Load()},
		{"made", counts[0].Load() + counts[1].Load() + counts[2].Load(), loadMade},
		{"started", stats.Windows["all"].Started, loadMade},
		{"finished", stats.Windows["all"].Finished, loadMade},
		{"held", stats.Held.Finished, loadMade},
		{"in flight", stats.Held.InFlight, 0},
		{"evicted", stats.Evicted, 0},
		{"not indexed", stats.NotIndexed, 0},
		{"ignored", stats.Ignored, 0},
		{"leaked", stats.Leaked, 0},
	} {
		if count.got != count.want {
			t.Errorf("%s: %d, want %d", count.name, count.got, count.want)
		}
	}
	for k, s := range streams {
		if s.ends != s.want {
			t.Errorf("stream %d (%s) saw %d ends, want %d", k, s.query.Encode(), s.ends, s.want)
		}
	}
	if n, err := exported(ctx, client, "http://"+address+"/activity/export?format=ndjson&state=CANCELLED"); err != nil || n != counts[2].Load() {
		t.Errorf("exported %d cancelled activities, want %d: %v", n, counts[2].Load(), err)
	}

	if err := m.Shutdown(ctx); err != nil {
		t.Errorf("shutdown: %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("serve: %v", err)
	}
	http.DefaultClient.CloseIdleConnections()
}

// makeLoad makes one goroutine's share: families of a decision and nine work items below it.
func makeLoad(ctx context.Context, g int, counts *[3]atomic.Int64) {
	var parent *tracing.Activity
	family := ctx
	for n := range loadEach {
		number := g*loadEach + n
		at, kind := family, words.WorkItem
		if n%10 == 0 {
			at, kind = ctx, words.Decision
		}
		inner, a := tracing.Start(at, kind, "Handle order", "Check the stock and book the payment",
			tracing.WithAttributes(otel.Int("shard", number%loadShards), otel.Int("order", number)))
		a.Say("Booking the payment")
		if n%10 == 0 {
			if parent != nil {
				parent.Complete("Orders handled")
				counts[0].Add(1)
			}
			parent, family = a, inner
			continue
		}
		switch number % 20 {
		case 1, 2:
			a.Fail(errors.New("payment refused"))
			counts[1].Add(1)
		case 3:
			a.Cancel("Customer withdrew")
			counts[2].Add(1)
		default:
			a.Complete("Booked")
			counts[0].Add(1)
		}
	}
	parent.Complete("Orders handled")
	counts[0].Add(1)
}

// follower is a stream's client. A server that finds it too slow closes it, and it resumes.
type follower struct {
	address    string
	query      url.Values
	want, ends int64
}

var ends = [][]byte{[]byte(`{"event":"completed"`), []byte(`{"event":"failed"`), []byte(`{"event":"cancelled"`)}

func (f *follower) follow(ctx context.Context, ready chan<- struct{}) error {
	after := ""
	for f.ends < f.want {
		query := url.Values{"batch": {"1"}}
		maps.Copy(query, f.query)
		if after != "" {
			query.Set("after", after)
		}
		connection, _, err := websocket.DefaultDialer.DialContext(ctx, "ws://"+f.address+"/activity/stream?"+query.Encode(), nil)
		if err != nil {
			return err
		}
		leave := context.AfterFunc(ctx, func() { connection.Close() })
		after, err = f.take(connection, ready, after == "")
		leave()
		connection.Close()
		if err != nil {
			return fmt.Errorf("after %d of %d: %w", f.ends, f.want, err)
		}
	}
	return nil
}

// take reads until all ends were seen, or returns where to resume.
func (f *follower) take(connection *websocket.Conn, ready chan<- struct{}, first bool) (after string, err error) {
	for f.ends < f.want {
		_, message, err := connection.ReadMessage()
		var closed *websocket.CloseError
		if errors.As(err, &closed) && closed.Code == websocket.CloseTryAgainLater {
			if _, after, ok := strings.Cut(closed.Text, "after="); ok {
				return after, nil
			}
		}
		if err != nil {
			return "", err
		}
		if first { // the greeting: what comes from now on is told
			ready <- struct{}{}
			first = false
		}
		if bytes.Contains(message, []byte(`{"event":"gap"`)) {
			return "", fmt.Errorf("a gap that the log should not have: %.200s", message)
		}
		for _, end := range ends {
			f.ends += int64(bytes.Count(message, end))
		}
	}
	return "", nil
}

// loadReader asks what a page asks.
type loadReader struct {
	client  *http.Client
	address string
	last    string // id of an activity seen
}

func (r *loadReader) read(ctx context.Context, n int) error {
	paths := []string{
		"/activity/all?limit=100&state=FAILED&type=work_item",
		"/activity/stats",
		"/activity/active?limit=100",
		"/activity/tree?limit=50&depth=2",
		"/activity/summary",
		"/activity/all?limit=20&sort=-duration",
		"/activity/all?limit=20&q=withdrew",
		"/activity/activity/" + r.last,
	}
	path := paths[n%len(paths)]
	if strings.HasSuffix(path, "/") {
		return nil // nothing seen yet
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.address+path, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Accept", "application/json")
	response, err := r.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var answer struct {
		Activities []struct {
			ID string `json:"activity_id"`
		} `json:"activities"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return fmt.Errorf("GET %s: %w", path, err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", path, response.Status)
	}
	if len(answer.Activities) > 0 {
		r.last = answer.Activities[0].ID
	}
	return nil
}

// exported counts the lines of an export.
func exported(ctx context.Context, client *http.Client, address string) (lines int64, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, err
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return 0, errors.New(response.Status)
	}
	scanner := bufio.NewScanner(response.Body)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		lines++
	}
	return lines, scanner.Err()
}
