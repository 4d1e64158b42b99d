package activity

import (
	"encoding/binary"
	"iter"
)

// IDMap is a map from ids. It hashes the span id alone, which takes half the
// time: spans of different traces seldom share one, and are told apart where
// they do. The zero IDMap is empty and ready to use.
type IDMap[T any] struct {
	first map[uint64]idEntry[T]
	rest  map[ID]T // whose span id another trace took first
}

type idEntry[T any] struct {
	trace TraceID
	value T
}

func spanKey(id ID) uint64 { return binary.LittleEndian.Uint64(id.Span[:]) }

// Get returns the value of an id, or the zero value.
func (m *IDMap[T]) Get(id ID) T {
	if e, ok := m.first[spanKey(id)]; ok && e.trace == id.Trace {
		return e.value
	}
	return m.rest[id]
}

// Put sets the value of an id.
func (m *IDMap[T]) Put(id ID, value T) {
	if m.first == nil {
		m.first, m.rest = make(map[uint64]idEntry[T]), make(map[ID]T)
	}
	key := spanKey(id)
	if len(m.rest) > 0 {
		if _, ok := m.rest[id]; ok {
			m.rest[id] = value
			return
		}
	}
	if e, ok := m.first[key]; ok && e.trace != id.Trace {
		m.rest[id] = value
		return
	}
	m.first[key] = idEntry[T]{id.Trace, value}
}

// Delete removes an id.
func (m *IDMap[T]) Delete(id ID) {
	key := spanKey(id)
	if e, ok := m.first[key]; ok && e.trace == id.Trace {
		delete(m.first, key)
		return
	}
	delete(m.rest, id)
}

// Len returns how many ids there are.
func (m *IDMap[T]) Len() int { return len(m.first) + len(m.rest) }

// All returns the ids and their values in no order.
func (m *IDMap[T]) All() iter.Seq2[ID, T] {
	return func(yield func(ID, T) bool) {
		for key, e := range m.first {
			id := ID{Trace: e.trace}
			binary.LittleEndian.PutUint64(id.Span[:], key)
			if !yield(id, e.value) {
				return
			}
		}
		for id, value := range m.rest {
			if !yield(id, value) {
				return
			}
		}
	}
}
