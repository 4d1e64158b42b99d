// Package tracing is what application code calls to be seen at work: it starts
// activities, says what they are doing while they do it, and ends them. An
// activity is an OpenTelemetry span, so all of this works with any provider;
// with Midspan's (see the root package) every call shows at once.
//
// # A block of work
//
// Start an activity, defer its End, and say what happens in between:
//
//	func deploy(ctx context.Context, r Release) (err error) {
//		ctx, a := tracing.Start(ctx, activity.WorkItem, "Deploy release", "Roll "+r.Name+" out to all regions")
//		defer a.End(&err)
//		for i, region := range r.Regions {
//			a.Sayf("Rolling out to %s", region)
//			if err := rollOut(ctx, region); err != nil {
//				return err
//			}
//			a.Progress(float64(i+1) / float64(len(r.Regions)))
//		}
//		a.Complete("Rolled out to all regions", r.Regions)
//		return nil
//	}
//
// End completes the activity when the function returns no error, cancels it
// for context.Canceled, and fails it for any other error and for a panic.
// [Activity.Complete], [Activity.Fail] and [Activity.Cancel] end it earlier and
// say more; the first end wins. What starts in the returned context is a child.
//
// # Work that waits
//
// [Plan] makes an activity that is queued. It is seen as planned until
// [Activity.Start], so its wait and its work are two durations:
//
//	_, a := tracing.Plan(ctx, activity.WorkItem, "Build", "Build "+commit)
//	queue <- job{a, commit}
//
//	j := <-queue // elsewhere
//	j.activity.Start()
//	err := build(j.activity.Context(ctx), j.commit)
//	j.activity.End(&err)
//
// # Functions
//
// [Track] wraps a function once, and every call is an activity. [Go] runs every
// call in a goroutine of its own, as a logical thread that the activities in it
// inherit; [Async] runs it as a background task. Both return a [Task] to wait on.
//
// # Decisions
//
// [Activity.Decide] records why: the alternatives that were weighed, the
// reasoning, the choice, the confidence, and the outcome once it shows.
//
// # Who holds only a context or an id
//
// [FromContext] gives the innermost activity of a context, and [Find] an open
// one by its id, with the same rights as the handle that Start returned. A
// parent can be named by [WithParent] and [WithParentID]; [Activity.Link] ties
// activities of different traces.
//
// # Plain OpenTelemetry
//
// None of this is needed: a span with the attributes that package activity
// names is an activity too, and one without them is typed by the semantic
// conventions.
package tracing
