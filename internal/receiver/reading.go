package receiver

import (
	"container/list"
	"sync"
	"time"
)

// patience is how long a request may be read before it gives way to others.
const patience = time.Second

// reading bounds the bytes of the requests that are being read, so that those
// that come slowly take no place of those that have come. When there is no room,
// the ones that have been read for longest are cut off, once they were read for
// longer than patience: however many stand still, they stop nobody. It is safe for
// concurrent use.
type reading struct {
	mu   sync.Mutex // guards everything below
	free int        // bytes
	all  list.List  // of *upload, the oldest first
}

// upload is a request that is being read.
type upload struct {
	in    *reading
	begun time.Time
	bytes int
	cut   func() // ends its reading
	gone  bool   // it was cut off
	place *list.Element
}

// join returns nil when there is no room for so many bytes. The caller must call
// leave on what it returns. cut may be called until then, once.
func (q *reading) join(bytes int, cut func()) *upload {
	u := &upload{in: q, begun: time.Now(), cut: cut}
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.room(bytes, u) {
		return nil
	}
	u.bytes = bytes
	u.place = q.all.PushBack(u)
	return u
}

// grow takes room for more bytes, and returns whether there is.
func (u *upload) grow(bytes int) bool {
	u.in.mu.Lock()
	defer u.in.mu.Unlock()
	if u.gone || !u.in.room(bytes, u) {
		return false
	}
	u.bytes += bytes
	return true
}

// leave gives the room back, and returns whether the request was cut off before.
func (u *upload) leave() (gone bool) {
	u.in.mu.Lock()
	defer u.in.mu.Unlock()
	if !u.gone {
		u.in.remove(u)
	}
	return u.gone
}

// room takes so many bytes for an upload, if it can. q.mu is held.
func (q *reading) room(bytes int, u *upload) bool {
	for q.free < bytes {
		e := q.all.Front()
		if e == nil {
			return false
		}
		oldest := e.Value.(*upload)
		if oldest == u || time.Since(oldest.begun) < patience {
			return false
		}
		q.remove(oldest)
		oldest.gone = true
		oldest.cut()
	}
	q.free -= bytes
	return true
}

// remove gives an upload's room back. q.mu is held.
func (q *reading) remove(u *upload) {
	q.free += u.bytes
	q.all.Remove(u.place)
}
