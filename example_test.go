package midspan_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/midspan/midspan"
	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/api"
	"github.com/midspan/midspan/dashboard"
	"github.com/midspan/midspan/index"
	"github.com/midspan/midspan/processor"
	"github.com/midspan/midspan/tracing"
)

// One call sets everything up.
func ExampleNew() {
	m, err := midspan.New(midspan.Config{Service: "orders"})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = m.Shutdown(context.Background()) }()
	// go m.ListenAndServe(ctx) serves http://127.0.0.1:18080/monitor/

	_, a := tracing.Start(context.Background(), activity.WorkItem, "Ship order", "Pack and hand over")
	a.Say("Packing 3 items")
	show(m.Index())
	a.Complete("Handed over to the carrier")
	show(m.Index())
	// Output:
	// Ship order: IN_PROGRESS, "Packing 3 items"
	// Ship order: COMPLETED, "Handed over to the carrier"
}

// A program with an OpenTelemetry set-up of its own adds the parts to it.
func Example_parts() {
	// What the program has.
	sdk := sdktrace.NewTracerProvider()

	// What it adds: an index, what feeds it, and the API that answers from it.
	ix := index.New(index.Config{MaxFinished: 10_000})
	p := processor.New(ix, processor.Config{})
	ix.BeforeRead(p.Flush)
	sdk.RegisterSpanProcessor(p)
	live := processor.Live(sdk, p) // take this instead of sdk from here on
	activities, err := api.New(api.Config{Reader: ix, Dashboard: dashboard.Handler()})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/activity/", activities)
	mux.Handle("/monitor/", activities)
	defer func() {
		_ = activities.Shutdown(context.Background())
		_ = sdk.Shutdown(context.Background())
	}()

	ctx := tracing.ContextWithProvider(context.Background(), live) // or otel.SetTracerProvider(live)
	_, a := tracing.Start(ctx, activity.WorkItem, "Ship order", "Pack and hand over")
	a.Complete("Handed over to the carrier")

	answer := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "http://localhost:18080/activity/all?limit=1", nil)
	mux.ServeHTTP(answer, r)
	fmt.Println(answer.Code)
	show(ix)
	// Output:
	// 200
	// Ship order: COMPLETED, "Handed over to the carrier"
}

// show prints what an index holds.
func show(ix *index.Index) {
	page, err := ix.List(context.Background(), &activity.Query{Limit: 10})
	if err != nil {
		log.Fatal(err)
	}
	for _, a := range page.Activities {
		did := a.Final
		if did == "" {
			did = a.Current
		}
		fmt.Printf("%s: %s, %q\n", a.Name, a.State, did)
	}
}
