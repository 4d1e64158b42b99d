package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// A process that is killed has lost nothing that it acknowledged, and goes on
// where it stood: what was open is open, what was known at a moment is known.
func TestServeKilled(t *testing.T) {
	data := t.TempDir()
	begin := time.Now().Add(-time.Second)
	var journal []string // names that were acknowledged, written before they are counted
	var between time.Time
	for round := range 3 {
		if round > 0 {
			if out, err := program(t, "fsck", data).CombinedOutput(); err != nil {
				t.Errorf("round %d: fsck: %v, %s", round, err, out)
			}
		}
		cmd, s := startKillable(t, "--data", data)
		for _, name := range journal {
			if !strings.Contains(ask(t, s, "/activity/all?q="+name), `"total":1,`) {
				t.Fatalf("round %d: %s was acknowledged and is lost", round, name)
			}
		}
		if round > 0 {
			if body := ask(t, s, "/activity/active"); !strings.Contains(body, `"name":"held-0"`) {
				t.Errorf("what was open is not: %s", body)
			}
			if body := ask(t, s, "/activity/at?time="+between.Format(time.RFC3339Nano)); !strings.Contains(body, fmt.Sprintf(`"total":%d,`, 1+40)) {
				t.Errorf("the moment after the first round: %s", body)
			}
		}
		<-time.After(time.Until(between.Add(200 * time.Millisecond))) // moments are told to a tenth of a second
		post(t, s, otlpSpan(round, 999, fmt.Sprintf("held-%d", round), false))
		var mu sync.Mutex
		var senders sync.WaitGroup
		for sender := range 4 {
			senders.Go(func() {
				for n := range 10 {
					name := fmt.Sprintf("work-%d-%d-%d", round, sender, n)
					if post(t, s, otlpSpan(round, 100*sender+n, name, true)) {
						mu.Lock()
						journal = append(journal, name)
						mu.Unlock()
					}
				}
			})
		}
		senders.Wait()
		if round == 0 {
			between = time.Now().UTC()
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
	}
	if len(journal) != 120 {
		t.Errorf("%d spans were acknowledged", len(journal))
	}
	// A second process can't open what a first one has, nor a first what is no log.
	_, s := startKillable(t, "--data", data)
	if body := ask(t, s, "/healthz"); !strings.Contains(body, `"ack":"disk"`) {
		t.Errorf("/healthz says %s", body)
	}
	// The past before and behind each of the kills is told again as one.
	told := replayed(t, s, begin)
	for _, name := range append(journal, "held-0", "held-1", "held-2") {
		if told[name] != 1 {
			t.Errorf("%s is told %d times", name, told[name])
		}
	}
	second := program(t, "serve", "--listen", "127.0.0.1:0", "--otlp-grpc", "127.0.0.1:0", "--otlp-http", "127.0.0.1:0", "--data", data)
	if out, err := second.CombinedOutput(); err == nil || !strings.Contains(string(out), data) {
		t.Errorf("a second one: %v, %s", err, out)
	}
}

// program is this test binary as the program.
func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	return &exec.Cmd{Path: os.Args[0], Dir: t.TempDir(), Env: os.Environ(), Args: append([]string{"midspan"}, args...)}
}

func startKillable(t *testing.T, args ...string) (*exec.Cmd, served) {
	t.Helper()
	stdout, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := program(t, append([]string{"serve", "--listen", "127.0.0.1:0", "--otlp-grpc", "127.0.0.1:0", "--otlp-http", "127.0.0.1:0"}, args...)...)
	cmd.Stdout, cmd.Stderr = w, os.Stderr
	err = cmd.Start()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		stdout.Close()
	})
	return cmd, addressesOf(t, stdout)
}

func otlpSpan(trace, span int, name string, ended bool) string {
	now := time.Now().UnixNano()
	end := ""
	if ended {
		end = fmt.Sprintf(`,"endTimeUnixNano":"%d"`, now+1000)
	}
	return fmt.Sprintf(`{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"%032x","spanId":"%016x","name":%q,"startTimeUnixNano":"%d"%s}]}]}]}`,
		trace+1, span+1, name, now, end)
}

func post(t *testing.T, s served, body string) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.http+"/v1/traces", strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return false
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return false
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err == nil && resp.StatusCode == http.StatusOK
}

// replayed returns how often a replay tells of each name.
func replayed(t *testing.T, s served, from time.Time) map[string]int {
	t.Helper()
	url := "ws" + strings.TrimPrefix(s.api, "http") + "/activity/replay?speed=1000&from=" + from.UTC().Format(time.RFC3339Nano)
	conn, _, err := websocket.DefaultDialer.DialContext(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	told := make(map[string]int)
	seq := uint64(0)
	for {
		var m struct {
			Event    string
			Seq      uint64
			Activity struct{ Name string }
		}
		if err := conn.ReadJSON(&m); err != nil {
			t.Fatalf("after %d: %v", seq, err)
		}
		if m.Event == "end" {
			return told
		}
		if m.Activity.Name != "" {
			if told[m.Activity.Name]++; m.Seq <= seq {
				t.Errorf("%d is told after %d", m.Seq, seq)
			}
			seq = m.Seq
		}
	}
}

func ask(t *testing.T, s served, path string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.api+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
