package bridge

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// What TestKill tells the process that it kills, in its environment.
const (
	senderURL  = "MIDSPAN_TEST_SENDER_URL"
	senderName = "MIDSPAN_TEST_SENDER_NAME"
)

const period = 2 * time.Second

// runSender is a program that does its work in the open, and is killed at it: it
// starts one activity, plans another, and renews its lease until it dies.
func runSender(url string) {
	name := os.Getenv(senderName)
	resource := text("service.name", "shop") + "," + text("service.instance.id", "shop-1") + "," + text("midspan.lease.id", name)
	post := func(record string) {
		req, err := http.NewRequest(http.MethodPost, url+"/v1/logs", strings.NewReader(records(resource, record))) //nolint:noctx // it is killed
		if err != nil {
			panic(err)
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			panic(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	ids := fmt.Sprintf(`"traceId":"%032x","timeUnixNano":"%d"`, len(name), time.Now().UnixNano())
	tick := time.NewTicker(period / 4)
	for seq := int64(1); ; seq++ {
		post(fmt.Sprintf(`{"eventName":"midspan.lease.renewed","attributes":[%s,%s,%s]}`,
			number("ttl_ms", period.Milliseconds()), number("seq", seq), number("sent_at", time.Now().UnixNano())))
		if seq == 1 {
			post(`{` + ids + `,"spanId":"0000000000000001","eventName":"activity.started","attributes":[` + text("activity.name", name) + `]}`)
			post(`{` + ids + `,"spanId":"0000000000000002","eventName":"activity.planned","attributes":[` + text("activity.name", name+" later") + `]}`)
			fmt.Println("working")
		}
		<-tick.C
	}
}

// startSender returns when the program is at work.
func startSender(t *testing.T, b *served, name string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), senderURL+"=http://"+b.HTTPAddr().String(), senderName+"="+name)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kill(cmd) })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "working\n" {
		t.Fatalf("the sender says %q: %v", line, err)
	}
	return cmd
}

func kill(cmd *exec.Cmd) {
	_ = cmd.Process.Kill() // -9; or it is dead already
	_ = cmd.Wait()
}

// states tells the state and lease of each activity, by name.
func (s *served) states() map[string]string {
	s.t.Helper()
	var page struct{ Activities []seen }
	s.read("/activity/all", &page)
	got := map[string]string{}
	for _, a := range page.Activities {
		got[a.Name] = a.State + " " + a.Lease
	}
	return got
}

// A process that is killed has its open activities LOST within three periods of
// its lease, though its successor starts at once under the same instance id.
func TestKill(t *testing.T) {
	b := serve(t, Config{})
	first := startSender(t, b, "first")
	if got := b.states(); got["first"] != "IN_PROGRESS live" || got["first later"] != "PLANNED live" {
		t.Fatalf("%v", got)
	}
	kill(first)
	killed := time.Now()
	second := startSender(t, b, "second one")
	eventually(t, 3*period-time.Since(killed), func() string {
		got := b.states()
		if got["second one"] != "IN_PROGRESS live" {
			t.Fatalf("the successor: %v", got)
		}
		if got["first"] != "LOST expired" || got["first later"] != "LOST expired" {
			return fmt.Sprint(got)
		}
		return ""
	})
	if lost := time.Since(killed); lost < period {
		t.Errorf("lost after %v, before its lease could expire", lost)
	}
	var metrics string
	b.read("/metrics", &metrics)
	for _, want := range []string{"midspan_lease_live{", "midspan_lease_lost_total{", "midspan_receiver_events_total{"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s in /metrics", want)
		}
	}
	if got := b.leases.Stats(); got.Live != 1 || got.Lost != 2 {
		t.Errorf("%+v", got)
	}
	kill(second)
}

// After a restart a lease gets its time anew: who lives renews, who died
// meanwhile is lost.
func TestLeasesAfterRestart(t *testing.T) {
	cfg := Config{Storage: Storage{Folder: t.TempDir()}}
	b := serve(t, cfg)
	resource := func(name string) string {
		return text("service.name", "shop") + "," + text("midspan.lease.id", name) + "," + number("midspan.lease.ttl_ms", 1000)
	}
	renew := func(name string, seq int64) {
		b.send("/v1/logs", records(resource(name), `{"eventName":"midspan.lease.renewed","attributes":[`+number("seq", seq)+`]}`))
	}
	for n, name := range []string{"lives", "died"} {
		renew(name, 1)
		b.send("/v1/logs", records(resource(name), fmt.Sprintf(`{"traceId":%q,"spanId":"%016x","eventName":"activity.started","timeUnixNano":"%d","attributes":[%s]}`,
			trace, n+1, time.Now().UnixNano(), text("activity.name", name))))
	}
	b.stop()
	b = serve(t, cfg)
	if got := b.states(); got["lives"] != "IN_PROGRESS live" || got["died"] != "IN_PROGRESS live" {
		t.Errorf("after the start: %v", got)
	}
	seq := int64(1)
	eventually(t, 20*time.Second, func() string {
		seq++
		renew("lives", seq)
		got := b.states()
		if got["lives"] != "IN_PROGRESS live" {
			t.Fatalf("%v", got)
		}
		if got["died"] != "LOST expired" {
			return fmt.Sprint(got)
		}
		return ""
	})
	b.stop()
	b = serve(t, cfg)
	if got := b.states(); got["died"] != "LOST expired" || got["lives"] != "IN_PROGRESS live" {
		t.Errorf("after another start: %v", got)
	}
	renew("died", 100) // it had only been cut off
	eventually(t, 20*time.Second, func() string {
		if got := b.states(); got["died"] != "IN_PROGRESS live" {
			return fmt.Sprint(got)
		}
		return ""
	})
}
