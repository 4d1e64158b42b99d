package receiver

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
)

// maxDiscarded is how much is read of what is refused.
const maxDiscarded = 8 << 20

// sizes are those of the buffers that a body moves through as it comes: what a
// sender announces costs nothing yet. A larger body has one of the bound's size.
var sizes = [...]int{32 << 10, 256 << 10, 1 << 20}

// buffers are used again: the decoder copies what it keeps.
var buffers [len(sizes)]sync.Pool

// buffer holds a body. Its zero value is empty.
type buffer struct {
	b     []byte
	moves int // it was made to, through sizes
}

// grow moves what is held to a larger buffer: beyond sizes of so many bytes.
func (b *buffer) grow(most int) {
	was := *b
	if b.moves++; b.moves > len(sizes) {
		b.b = make([]byte, 0, most)
	} else if again, ok := buffers[b.moves-1].Get().(*[]byte); ok {
		b.b = *again
	} else {
		b.b = make([]byte, 0, sizes[b.moves-1])
	}
	b.b = append(b.b, was.b...)
	was.free()
}

func (b *buffer) free() {
	if b.moves > 0 && b.moves <= len(sizes) {
		empty := b.b[:0]
		buffers[b.moves-1].Put(&empty)
	}
	*b = buffer{}
}

// counts is what a buffer after so many moves counts for among what is read.
func (r *Receiver) counts(moves int) int {
	most := max(r.cfg.MaxBytes, sizes[0])
	if moves > len(sizes) {
		return most
	}
	return min(sizes[moves-1], most)
}

// read fills body with the request's, as it was sent. What is refused is read on
// for a while: its sender would see a broken connection, and no answer.
func (r *Receiver) read(s *signal, w http.ResponseWriter, h *http.Request, body *buffer) *failure {
	why := r.fill(s, w, h, body)
	if why == nil || why.http == http.StatusBadRequest || len(body.b) == 0 && h.Header.Get("Expect") != "" {
		return why
	}
	_, _ = io.CopyN(io.Discard, h.Body, maxDiscarded) // who went away needs no answer
	return why
}

func (r *Receiver) fill(s *signal, w http.ResponseWriter, h *http.Request, body *buffer) *failure {
	limit := r.cfg.MaxBytes
	if h.ContentLength > int64(limit) {
		return r.large()
	}
	up := r.reading[s.number].join(r.counts(1), func() { _ = http.NewResponseController(w).SetReadDeadline(time.Now()) })
	if up == nil {
		r.refuse(s, nil)
		return errBusy
	}
	body.grow(limit + 1)
	from := io.LimitReader(h.Body, int64(limit)+1)
	var err error
	for room := true; err == nil && room && len(body.b) <= limit; {
		if len(body.b) == cap(body.b) {
			if room = up.grow(r.counts(body.moves+1) - r.counts(body.moves)); room {
				body.grow(limit + 1)
			}
			continue
		}
		var n int
		n, err = from.Read(body.b[len(body.b):cap(body.b)])
		body.b = body.b[:len(body.b)+n]
	}
	gone := up.leave()
	switch {
	case len(body.b) > limit:
		return r.large()
	case errors.Is(err, io.EOF):
		return nil
	case err == nil || gone:
		r.refuse(s, nil)
		return errBusy
	}
	return &failure{code: codes.InvalidArgument, http: http.StatusBadRequest, text: "read the body: " + err.Error()}
}

// large counts a request that is larger than one may be.
func (r *Receiver) large() *failure {
	r.tooLarge.Add(1)
	return &failure{
		code: codes.ResourceExhausted, http: http.StatusRequestEntityTooLarge,
		text: fmt.Sprintf("the request is larger than %d bytes: send smaller batches", r.cfg.MaxBytes),
	}
}
