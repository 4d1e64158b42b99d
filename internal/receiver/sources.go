package receiver

import (
	"slices"
	"strconv"
	"strings"
	"sync"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/midspan/midspan/activity"
)

// maxSources and maxSourceBytes bound the resources and scopes that are known by
// their content. Beyond it all are forgotten and learned anew, which costs memory
// and nothing else.
const (
	maxSources     = 20_000
	maxSourceBytes = 32 << 20
)

// sources gives equal resources and scopes one place in memory: every batch of
// a process carries them again.
type sources struct {
	mu        sync.Mutex // guards everything below
	resources map[string]*activity.Resource
	scopes    map[string]*activity.Scope
	bytes     int // of their keys
	key       []byte
	keepClock bool // as Config.KeepClock; never changed
}

// resource returns the one of that content, or nil when it is larger than maxSource.
func (s *sources) resource(r pcommon.Resource, attrs []activity.Attr, schemaURL string) *activity.Resource {
	if sizeOf(attrs)+len(schemaURL) > maxSource {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.key = appendKey(s.key[:0], attrs, r.DroppedAttributesCount(), schemaURL)
	if known := s.resources[string(s.key)]; known != nil {
		return known
	}
	s.makeRoom()
	if !s.keepClock {
		attrs = slices.DeleteFunc(attrs, func(a activity.Attr) bool { return strings.HasPrefix(a.Key, activity.KeyClock) })
	}
	res := activity.NewResource(attrs, schemaURL)
	res.Dropped = r.DroppedAttributesCount()
	s.resources[string(s.key)] = res
	return res
}

// scope returns the one of that content, or nil when it is larger than maxSource.
func (s *sources) scope(sc pcommon.InstrumentationScope, attrs []activity.Attr, schemaURL string) *activity.Scope {
	if sizeOf(attrs)+len(sc.Name())+len(sc.Version())+len(schemaURL) > maxSource {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.key = appendKey(s.key[:0], attrs, sc.DroppedAttributesCount(), sc.Name(), sc.Version(), schemaURL)
	if known := s.scopes[string(s.key)]; known != nil {
		return known
	}
	s.makeRoom()
	scope := &activity.Scope{
		Name: sc.Name(), Version: sc.Version(), SchemaURL: schemaURL, Attrs: attrs, Dropped: sc.DroppedAttributesCount(),
	}
	s.scopes[string(s.key)] = scope
	return scope
}

// makeRoom makes room for a source of s.key. s.mu is held.
func (s *sources) makeRoom() {
	if s.bytes += len(s.key); s.resources == nil || len(s.resources)+len(s.scopes) >= maxSources || s.bytes > maxSourceBytes {
		s.resources, s.scopes, s.bytes = make(map[string]*activity.Resource), make(map[string]*activity.Scope), len(s.key)
	}
}

// sizeOf returns the bytes of the attributes' keys and texts, and eight for each value.
func sizeOf(attrs []activity.Attr) int {
	n := 0
	for i := range attrs {
		n += len(attrs[i].Key) + sizeOfValue(&attrs[i].Value)
	}
	return n
}

func sizeOfValue(v *activity.Value) int {
	n := 8 + len(v.Str()) + sizeOf(v.Map())
	vs := v.Slice()
	for i := range vs {
		n += sizeOfValue(&vs[i])
	}
	return n
}

// appendKey appends what tells one content from another. Kinds are told apart
// too: the number 1 and the text 1 are two values.
func appendKey(b []byte, attrs []activity.Attr, dropped uint32, texts ...string) []byte {
	b = strconv.AppendUint(b, uint64(dropped), 10)
	b = append(b, ' ')
	for _, t := range texts {
		b = strconv.AppendInt(b, int64(len(t)), 10)
		b = append(append(b, ':'), t...)
	}
	for i := range attrs {
		b = append(activity.AppendString(b, attrs[i].Key), byte(attrs[i].Value.Kind()))
		b = attrs[i].Value.AppendJSON(b)
	}
	return b
}
