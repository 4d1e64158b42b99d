package index

import (
	"context"

	"github.com/midspan/midspan/activity"
)

// Unseen returns the events without the finished spans that are held just so,
// which would change nothing. It returns events itself when there are none of
// these, or when it can't be told.
func (x *Index) Unseen(ctx context.Context, events []activity.Event) []activity.Event {
	x.beforeRead()
	var seen []int
	if err := x.look(ctx, func(l *look) {
		seen = seen[:0]
		var keys *keyTable // of its own: others read at the same time
		for i := range events {
			if l.seen(&events[i], &keys) {
				seen = append(seen, i)
			}
		}
	}); err != nil || len(seen) == 0 {
		return events
	}
	unseen := make([]activity.Event, 0, len(events)-len(seen))
	from := 0
	for _, i := range append(seen, len(events)) {
		unseen = append(unseen, events[from:i]...)
		from = i + 1
	}
	return unseen
}

// seen reports whether a finished activity has the event of a finished span.
// keys is made when it is needed.
func (l *look) seen(e *activity.Event, keys **keyTable) bool {
	if e.EndTime == 0 {
		return false
	}
	seg, i := l.findRow(e.ID, partIDs)
	if seg == nil {
		return false
	}
	if seg = l.with(seg, allParts); seg == nil {
		return false
	}
	if *keys == nil {
		*keys = noKeys()
	}
	o := openActivity{base: seg.base(i), enc: encoder{keys: *keys}}
	told := o.told(e)
	events, _ := decodeRecord(seg.recordString(i), l.x.keys.keys, e.ID, &o.base)
	return seen(events, &told)
}
