package api

import (
	"encoding/json"
	"net/http"
	"strconv"
	"sync"

	"github.com/midspan/midspan/activity"
)

// buffers holds what answers are built in. What grew beyond maxPooled is left
// to the collector: one huge answer must not stay for ever.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

const maxPooled = 1 << 20

func getBuffer() *[]byte {
	b := buffers.Get().(*[]byte)
	*b = (*b)[:0]
	return b
}

func putBuffer(b *[]byte) {
	if cap(*b) <= maxPooled {
		buffers.Put(b)
	}
}

// answer writes a whole answer that build appends to a buffer.
func answer(w http.ResponseWriter, build func(b []byte) []byte) {
	buffer := getBuffer()
	defer putBuffer(buffer)
	*buffer = append(build(*buffer), '\n')
	h := w.Header()
	if h.Get("Content-Type") == "" {
		h.Set("Content-Type", "application/json")
	}
	h.Set("Content-Length", strconv.Itoa(len(*buffer)))
	w.Write(*buffer)
}

func answerJSON(w http.ResponseWriter, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	answer(w, func(buffer []byte) []byte { return append(buffer, b...) })
	return nil
}

// appendIncomplete says that some of an answer may be missing.
func appendIncomplete(b []byte, incomplete bool) []byte {
	if incomplete {
		b = append(b, `"incomplete":true,`...)
	}
	return b
}

func appendPosition(b []byte, p activity.Position) []byte {
	b = append(b, `"log_id":`...)
	b = activity.AppendString(b, p.LogID)
	b = append(b, `,"as_of_seq":`...)
	return strconv.AppendUint(b, p.Seq, 10)
}
