package tracing_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/tracing"
)

// printer prints spans as they end, for the examples' output.
type printer struct{ mu sync.Mutex }

func (p *printer) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (p *printer) ForceFlush(context.Context) error                { return nil }
func (p *printer) Shutdown(context.Context) error                  { return nil }
func (p *printer) OnEnd(s sdktrace.ReadOnlySpan) {
	p.mu.Lock()
	defer p.mu.Unlock()
	set := attribute.NewSet(s.Attributes()...)
	get := func(key attribute.Key) string {
		v, _ := set.Value(key)
		return v.String()
	}
	fmt.Println(strings.TrimSpace(fmt.Sprintf("%s %q %s %s", get(activity.KeyType), s.Name(), get(activity.KeyState), get(activity.KeyFinal))))
}

func exampleContext() context.Context {
	tp := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(&printer{}))
	return tracing.ContextWithProvider(context.Background(), tp)
}

func ExampleStart() {
	deploy := func(ctx context.Context, regions []string) (err error) {
		_, a := tracing.Start(ctx, activity.WorkItem, "Deploy", "Roll out to all regions")
		defer a.End(&err)
		for i, region := range regions {
			a.Sayf("Rolling out to %s", region)
			if region == "" {
				return errors.New("a region has no name")
			}
			a.Progress(float64(i+1) / float64(len(regions)))
		}
		a.Complete(fmt.Sprintf("Rolled out to %d regions", len(regions)), regions)
		return nil
	}
	ctx := exampleContext()
	_ = deploy(ctx, []string{"eu", "us"})
	_ = deploy(ctx, []string{""})
	// Output:
	// work_item "Deploy" COMPLETED Rolled out to 2 regions
	// work_item "Deploy" FAILED
}

func ExamplePlan() {
	ctx := exampleContext()
	queue := make(chan *tracing.Activity, 2)
	for _, commit := range []string{"4f2a9c1", "77b0e13"} {
		_, a := tracing.Plan(ctx, activity.WorkItem, "Build", "Build "+commit)
		queue <- a
	}
	close(queue)

	first := <-queue
	first.Start()
	first.Complete("Built")
	for a := range queue {
		a.Cancel("The branch was deleted")
	}
	// Output:
	// work_item "Build" COMPLETED Built
	// work_item "Build" CANCELLED The branch was deleted
}

func ExampleTrack() {
	choose := tracing.Track(activity.Decision, "Select strategy", "Weigh the strategies",
		func(ctx context.Context, errorBudget float64) (string, error) {
			a := tracing.FromContext(ctx)
			d := tracing.Decision{
				Alternatives: []string{"canary", "blue-green"},
				Reasoning:    "The error budget allows a canary",
				Choice:       "canary",
				Confidence:   new(0.8),
			}
			if errorBudget < 0.01 {
				d.Reasoning, d.Choice = "No error budget is left", "blue-green"
			}
			a.Decide(d)
			a.Complete("Chose " + d.Choice)
			return d.Choice, nil
		})

	strategy, err := choose(exampleContext(), 0.05)
	fmt.Println(strategy, err)
	// Output:
	// decision "Select strategy" COMPLETED Chose canary
	// canary <nil>
}

func ExampleGo() {
	worker := tracing.Go("Indexer", "Index every file", func(ctx context.Context, files []string) (int, error) {
		for range files {
			_, a := tracing.Start(ctx, activity.WorkItem, "Index file", "") // in the same logical thread
			a.Complete("Indexed")
		}
		return len(files), nil
	})
	task := worker(exampleContext(), []string{"a.md", "b.md"})
	n, err := task.Wait(context.Background())
	fmt.Println(n, err)
	// Output:
	// work_item "Index file" COMPLETED Indexed
	// work_item "Index file" COMPLETED Indexed
	// thread "Indexer" COMPLETED
	// 2 <nil>
}

func ExampleAsync() {
	fetch := tracing.Async("Fetch", "Fetch the page", func(_ context.Context, url string) (int, error) {
		return len(url), nil
	}, tracing.KeepResult())
	task := fetch(exampleContext(), "https://example.com") // planned now
	size, err := task.Wait(context.Background())
	fmt.Println(size, err)
	// Output:
	// async_task "Fetch" COMPLETED
	// 19 <nil>
}

func ExampleActivity_Decide() {
	_, a := tracing.Start(exampleContext(), activity.Decision, "Retry run", "Decide whether to run it again")
	a.Decide(tracing.Decision{Alternatives: []string{"retry", "give up"}, Confidence: new(0.9)})
	a.Decide(tracing.Decision{Reasoning: "The error is temporary", Choice: "retry"})
	a.Complete("Retried in 3 s")
	// Output:
	// decision "Retry run" COMPLETED Retried in 3 s
}
