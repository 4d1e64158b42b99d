package activity

import "context"

// LogicalThread names a line of work, whichever goroutines carry it.
type LogicalThread struct{ ID, Name string }

type threadKey struct{}

// ContextWithThread returns a context whose activities belong to the thread.
func ContextWithThread(ctx context.Context, t LogicalThread) context.Context {
	return context.WithValue(ctx, threadKey{}, &t)
}

// ThreadFromContext returns the thread that ctx's activities belong to, or nil.
func ThreadFromContext(ctx context.Context) *LogicalThread {
	t, _ := ctx.Value(threadKey{}).(*LogicalThread)
	return t
}
