// Command bridge shows its work in a `midspan serve` while it goes on, by
// midspan.Config.Bridge.
//
//	go run ./docs/examples/go/bridge -bridge http://localhost:4318
package main

import (
	"context"
	"flag"
	"log"
	"time"

	"github.com/midspan/midspan"
	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/tracing"
)

func main() {
	bridge := flag.String("bridge", "http://localhost:4318", "where the bridge takes OTLP")
	step := flag.Duration("step", 5*time.Second, "how long an item takes")
	flag.Parse()
	m, err := midspan.New(midspan.Config{Service: "go-bridge-example", Bridge: *bridge})
	if err != nil {
		log.Fatal(err)
	}
	ship(context.Background(), []string{"tea", "cup", "spoon"}, *step)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := m.Shutdown(ctx); err != nil {
		log.Print(err)
	}
}

func ship(ctx context.Context, items []string, step time.Duration) {
	_, a := tracing.Start(ctx, activity.WorkItem, "Ship order", "Pack all items and hand them over")
	for i, item := range items {
		a.Sayf("Packing %s", item)
		a.Progress(float64(i) / float64(len(items)))
		time.Sleep(step) // your work
	}
	a.Complete("Handed over")
}
