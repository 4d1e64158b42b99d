package api

import (
	"strings"

	"github.com/midspan/midspan/activity"
)

const attrPrefix = "attr."

// filter reads the parameters that lists, trees, exports, statistics,
// summaries and streams share.
func (p *params) filter() activity.Filter {
	f := activity.Filter{
		Types:       p.types(),
		States:      p.states(activity.States, "a state"),
		Services:    p.many("service"),
		Agents:      p.many("agent"),
		Threads:     p.many("thread"),
		Since:       p.moment("since"),
		Until:       p.moment("until"),
		MinDuration: p.duration("min_duration"),
		MaxDuration: p.duration("max_duration"),
		Terms:       p.terms(),
		Attrs:       p.attrs(),
	}
	if _, ok := p.one("stalled"); ok {
		stalled := p.flag("stalled")
		f.Stalled = &stalled
	}
	for _, v := range p.many("trace") {
		t, err := activity.ParseTraceID(v)
		if err != nil {
			p.fail(invalid("trace", "%q is not a trace id: 32 hex digits", clip(v)))
		}
		f.Traces = append(f.Traces, t)
	}
	for _, v := range p.many("parent") {
		f.Parents = append(f.Parents, p.id("parent", v))
	}
	if f.Since != 0 && f.Until != 0 && f.Since > f.Until {
		p.fail(invalid("since", "is later than until"))
	}
	if f.MaxDuration != 0 && f.MinDuration > f.MaxDuration {
		p.fail(invalid("min_duration", "is longer than max_duration"))
	}
	return f
}

func (p *params) types() []activity.Type {
	var types []activity.Type
	for _, v := range p.many("type") {
		t, ok := activity.ParseType(v)
		if !ok {
			p.fail(invalid("type", "%q is not one of %s", clip(v), names(activity.Types)))
		}
		types = append(types, t)
	}
	return types
}

// states reads the states, each of which must be one of those allowed.
func (p *params) states(allowed []activity.State, what string) []activity.State {
	var states []activity.State
	for _, v := range p.many("state") {
		s, ok := activity.ParseState(v)
		if ok {
			ok = false
			for _, a := range allowed {
				ok = ok || a == s
			}
		}
		if !ok {
			p.fail(invalid("state", "%q is not %s: %s", clip(v), what, names(allowed)))
		}
		states = append(states, s)
	}
	return states
}

func names[T interface{ String() string }](vs []T) string {
	var b strings.Builder
	for i, v := range vs {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(v.String())
	}
	return b.String()
}

func (p *params) terms() []string {
	q, ok := p.one("q")
	if !ok {
		return nil
	}
	if len(q) > maxQ {
		p.fail(invalid("q", "has %d bytes; at most %d are allowed", len(q), maxQ))
		return nil
	}
	terms := activity.Terms(q)
	switch {
	case len(terms) == 0:
		p.fail(invalid("q", "has no word to look for"))
	case len(terms) > maxTerms:
		p.fail(invalid("q", "has %d words and phrases; at most %d are allowed", len(terms), maxTerms))
	}
	return terms
}

func (p *params) attrs() []activity.AttrFilter {
	var filters []activity.AttrFilter
	for _, name := range p.names() {
		key, ok := strings.CutPrefix(name, attrPrefix)
		if !ok {
			continue
		}
		p.asked[name] = true
		switch {
		case key == "":
			p.fail(invalid(name, "names no attribute: write attr.KEY=VALUE"))
		case len(key) > maxAttrKey:
			p.fail(invalid(clip(name), "names an attribute of %d bytes; at most %d are allowed", len(key), maxAttrKey))
		}
		// An empty attribute value is a value: unlike other parameters it may be asked for.
		filters = append(filters, activity.AttrFilter{Key: key, Values: p.values[name]})
	}
	if len(filters) > maxAttrFilters {
		p.fail(invalid(attrPrefix+"*", "%d attributes are asked for; at most %d are allowed", len(filters), maxAttrFilters))
	}
	return filters
}

// selectsAll reports whether a filter is the zero one.
func selectsAll(f *activity.Filter) bool {
	return f.HeadOnly() && len(f.Types) == 0 && len(f.States) == 0 && len(f.Services) == 0 &&
		len(f.Threads) == 0 && len(f.Traces) == 0 && len(f.Parents) == 0 &&
		f.Since == 0 && f.Until == 0 && f.MinDuration == 0 && f.MaxDuration == 0
}
