package bridge

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/midspan/midspan/internal/eventlog"
	"github.com/midspan/midspan/internal/forward"
)

// A stop under load, with a target that is away, ends in time, and all that was
// acknowledged is there at the next start.
func TestStopLosesNothing(t *testing.T) {
	for _, ack := range []eventlog.Level{eventlog.Disk, eventlog.Memory} {
		t.Run(ack.String(), func(t *testing.T) {
			cfg := Config{
				Storage: Storage{Folder: t.TempDir(), Ack: ack},
				Forward: forward.Config{Targets: []forward.Target{{URL: "http://127.0.0.1:1"}}},
			}
			b := serve(t, cfg)
			var mu sync.Mutex
			acknowledged := map[string]bool{}
			enough := make(chan struct{})
			var senders sync.WaitGroup
			for sender := range 4 {
				senders.Go(func() {
					for n := 0; ; n++ {
						id := 1 + sender*100_000 + n
						at := time.Now().UnixNano()
						body := spans("", span(trace, id, 0, at-1, at))
						req, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodPost, "http://"+b.HTTPAddr().String()+"/v1/traces", strings.NewReader(body))
						if err != nil {
							t.Error(err)
							return
						}
						req.Header.Set("Content-Type", "application/json")
						resp, err := b.client.Do(req)
						if err != nil {
							return // it has stopped
						}
						resp.Body.Close()
						if resp.StatusCode != http.StatusOK {
							continue
						}
						mu.Lock()
						acknowledged[fmt.Sprintf("%s-%016x", trace, id)] = true
						if len(acknowledged) == 200 {
							close(enough)
						}
						mu.Unlock()
					}
				})
			}
			<-enough
			begun := time.Now()
			b.stop()
			if took := time.Since(begun); took > stopTimeout {
				t.Errorf("it took %v to stop", took)
			}
			senders.Wait()
			cfg.Forward = forward.Config{}
			again := serve(t, cfg)
			var page struct {
				Activities []seen
				Next       *string `json:"next_cursor"`
			}
			for path := "/activity/all?limit=1000"; ; path = "/activity/all?limit=1000&cursor=" + *page.Next {
				page.Activities, page.Next = nil, nil
				again.read(path, &page)
				for _, a := range page.Activities {
					delete(acknowledged, a.ID)
				}
				if page.Next == nil {
					break
				}
			}
			if len(acknowledged) > 0 {
				t.Errorf("%d acknowledged spans are lost", len(acknowledged))
			}
		})
	}
}

// With a folder a stop waits for no target that is away, at whatever level.
func TestStopWaitsForNoTarget(t *testing.T) {
	b := serve(t, Config{
		Storage: Storage{Folder: t.TempDir(), Ack: eventlog.Memory},
		Forward: forward.Config{Targets: []forward.Target{{URL: "http://127.0.0.1:1"}}},
	})
	b.send("/v1/traces", finished(1, 1, ""))
	eventually(t, 20*time.Second, func() string {
		if !b.store.forward.Stats()[0].Away {
			return "the target is not known to be away"
		}
		return ""
	})
	ctx, cancel := context.WithTimeout(t.Context(), forwardTimeout)
	defer cancel()
	b.stop()
	if ctx.Err() != nil {
		t.Errorf("it waited %v for the target", forwardTimeout)
	}
}
