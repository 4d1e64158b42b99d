package bridge

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/midspan/midspan/internal/forward"
	"github.com/midspan/midspan/internal/redact"
)

func (s *served) flushSelf() {
	s.t.Helper()
	if err := s.self.provider.ForceFlush(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

// What a bridge does is told to another: it receives, appends, forwards, answers.
func TestSelf(t *testing.T) {
	watcher, target := serve(t, Config{}), serve(t, Config{})
	b := serve(t, Config{
		SelfEndpoint: "http://" + watcher.HTTPAddr().String(), Version: "1.2.3",
		Forward: forward.Config{Targets: []forward.Target{{URL: "http://" + target.HTTPAddr().String()}}},
	})
	b.send("/v1/traces", finished(1, 2, ""))
	b.wants(http.StatusRequestEntityTooLarge, "/v1/traces", strings.Repeat(" ", 5<<20)) // is not read, so it is no trace
	b.wants(http.StatusBadRequest, "/v1/traces", "{")
	eventually(t, 20*time.Second, func() string {
		if b.store.forward.Stats()[0].Sent < 2 {
			return "the target has nothing"
		}
		return ""
	})
	var list string
	b.read("/activity/all", &list)
	b.read("/healthz", &list)
	b.flushSelf()
	var page struct {
		Activities []struct{ Name, State, Service string }
	}
	watcher.read("/activity/all?service=midspan", &page)
	got := map[string]string{}
	for _, a := range page.Activities {
		got[a.Name] += a.State + " "
	}
	for name, want := range map[string]string{"append": "COMPLETED ", "forward": "COMPLETED ", "query": "COMPLETED "} {
		if got[name] != want {
			t.Errorf("%s: %q, want %q", name, got[name], want)
		}
	}
	if r := got["receive /v1/traces"]; r != "FAILED COMPLETED " && r != "COMPLETED FAILED " || len(got) != 4 {
		t.Errorf("%v", got)
	}
}

// relayTo is another program, which passes what it gets on.
func relayTo(t *testing.T, to **served) *httptest.Server {
	relay := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req, err := http.NewRequestWithContext(r.Context(), http.MethodPost, "http://"+(*to).HTTPAddr().String()+"/v1/traces", r.Body)
		if err != nil {
			t.Error(err)
			return
		}
		req.Header.Set("Content-Type", r.Header.Get("Content-Type"))
		resp, err := (*to).client.Do(req)
		if err != nil { // it has stopped before
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body)
	}))
	t.Cleanup(relay.Close)
	return relay
}

// Its own spans may come back to it, by way of another program: they make no more.
func TestSelfEnds(t *testing.T) {
	var back *served
	relay := relayTo(t, &back)
	back = serve(t, Config{SelfEndpoint: relay.URL})
	back.send("/v1/traces", finished(1, 1, ""))
	for range 4 {
		back.flushSelf()
	}
	if n := back.receiver.Stats().Requests; n != 2 {
		t.Errorf("%d requests were taken, want the first and its trace", n)
	}
	if own := back.states(); own["append"] == "" || len(own) != 3 {
		t.Errorf("%v", own)
	}
}

// Two bridges may tell each other what they do, and forward it: what they tell
// makes no more.
func TestSelvesEnd(t *testing.T) {
	var one, other *served
	clean := new(redact.Config)
	one = serve(t, Config{SelfEndpoint: relayTo(t, &other).URL, Redact: clean})
	other = serve(t, Config{
		SelfEndpoint: "http://" + one.HTTPAddr().String(), Redact: clean,
		Forward: forward.Config{Targets: []forward.Target{{URL: "http://" + one.HTTPAddr().String()}}},
	})
	one.send("/v1/traces", finished(1, 1, ""))
	one.flushSelf() // two spans, which the other forwards
	eventually(t, 20*time.Second, func() string {
		if other.store.forward.Stats()[0].Sent < 2 {
			return "nothing was forwarded"
		}
		return ""
	})
	for range 4 {
		one.flushSelf()
		other.flushSelf()
	}
	if a, b := one.receiver.Stats(), other.receiver.Stats(); a.Events != 3 || b.Events != 2 {
		t.Errorf("%d and %d spans were taken, want 3 and 2", a.Events, b.Events)
	}
}

// The bridge's own addresses are refused, however they are written.
func TestOwnAddress(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", free)
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	for _, tt := range []struct {
		endpoint string
		own      bool
	}{
		{"http://" + address, true},
		{"grpc://localhost:" + port, true},
		{"http://127.0.0.1:1", false},
		{"http://192.0.2.1:" + port, false},
	} {
		if own := ownAddress(t.Context(), tt.endpoint, []net.Listener{l}); own != tt.own {
			t.Errorf("%s: own %v", tt.endpoint, own)
		}
	}
	l.Close()
	for what, cfg := range map[string]Config{
		"own traces": {SelfEndpoint: "http://" + address},
		"forward":    {Forward: forward.Config{Targets: []forward.Target{{URL: "http://" + address}}}},
	} {
		cfg.Listen, cfg.OTLPGRPC, cfg.OTLPHTTP, cfg.Logger = free, free, address, slog.New(slog.DiscardHandler)
		if _, err := New(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), what) || !strings.Contains(err.Error(), "own address") {
			t.Errorf("%s: %v", what, err)
		}
	}
	again, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatalf("the address was not let go: %v", err)
	}
	again.Close()
}

// However much there is to do, no more than so many traces begin in a second.
func TestSelfIsBounded(t *testing.T) {
	s, begun, admitted := new(self), time.Now().Unix(), int64(0)
	for range 1000 {
		if s.admit() {
			admitted++
		}
	}
	if seconds := 1 + time.Now().Unix() - begun; admitted < selfTraces || admitted > seconds*selfTraces {
		t.Errorf("%d traces in %d s", admitted, seconds)
	}
}
