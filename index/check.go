package index

import (
	"bytes"
	"context"
	"fmt"
	"slices"
)

// Check reads every segment and holds its parts against each other: each row's
// record has to fold to what the columns tell of it, and what an archive keeps for
// searches and statistics has to be what is made of the rows. report is told of each
// segment that fails, until it returns false. Check's own error is ctx's. Nothing may
// be written to the index meanwhile.
func (x *Index) Check(ctx context.Context, report func(segment uint64, damage error) bool) error {
	x.mu.RLock()
	segs := slices.Clone(x.segs)
	x.mu.RUnlock()
	for _, seg := range segs {
		if err := x.checkSegment(ctx, seg); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if !report(seg.first, err) {
				return nil
			}
		}
	}
	return nil
}

func (x *Index) checkSegment(ctx context.Context, seg *segment) (err error) {
	defer func() {
		if recover() != nil { // a record that leads beyond its bytes, or a code beyond its table
			err = errPart
		}
	}()
	c := *seg
	for _, p := range Parts[:PartGrams] { // not by the cache, which would keep them
		if c.has(part(1) << p) {
			continue
		}
		data, err := x.cfg.Archive.Load(ctx, seg.first, p)
		if err != nil {
			return err
		}
		got, err := decodePart(&c, p, data)
		if err != nil {
			return &DamageError{seg.first, p, err}
		}
		c = *c.with(got)
	}
	for i := range c.n {
		if c.isDead(i) {
			continue
		}
		events, _ := c.decode(i, x.keys.keys)
		if len(events) == 0 {
			return fmt.Errorf("activity %v has no events", c.id(i))
		}
		a := fold(events)
		if a.ID != c.id(i) || a.State != c.state[i] || a.Type != c.typ[i] || a.PlannedAt != c.planned[i] || a.EndedAt != c.ended[i] {
			return fmt.Errorf("activity %v: its record and its columns tell of different states or times", c.id(i))
		}
	}
	if !seg.saved {
		return nil // the archive has nothing of it
	}
	for _, p := range Parts[PartGrams:] {
		data, err := x.cfg.Archive.Load(ctx, seg.first, p)
		if err != nil {
			return err
		}
		if !bytes.Equal(data, c.appendPart(nil, p)) {
			return fmt.Errorf("its %v are not those of its rows: searches and statistics of them may be wrong", p)
		}
	}
	return nil
}
