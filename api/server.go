package api

import (
	"bufio"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Defaults of a server's times.
const (
	DefaultHeader = 10 * time.Second // for the head of a request
	DefaultIdle   = 2 * time.Minute  // for a connection without a request
)

// NewServer returns a server for an API with the limits that it counts on.
// There is no WriteTimeout, which would end streams and long exports: the API
// sets a deadline for each answer, and streams one for each write. The
// server's own complaints, mostly of clients that break off, go to the logger
// as debug messages; nil means slog.Default.
func NewServer(h http.Handler, log *slog.Logger) *http.Server {
	if log == nil {
		log = slog.Default()
	}
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: DefaultHeader,
		IdleTimeout:       DefaultIdle,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// recorder remembers the status of an answer, and gives the answer its deadline
// when it begins: how long a busy machine needs to make it is not the client's
// fault.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	r.begin(status)
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	r.begin(http.StatusOK)
	return r.ResponseWriter.Write(b)
}

func (r *recorder) begin(status int) {
	if r.status != 0 {
		return
	}
	r.status = status
	// Not every ResponseWriter has deadlines; httptest's recorder has none.
	_ = http.NewResponseController(r.ResponseWriter).SetWriteDeadline(time.Now().Add(writeTimeout))
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// Flush implements http.Flusher.
func (r *recorder) Flush() { _ = http.NewResponseController(r.ResponseWriter).Flush() }

// Hijack implements http.Hijacker, which a WebSocket needs.
func (r *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if r.status == 0 {
		r.status = http.StatusSwitchingProtocols
	}
	return http.NewResponseController(r.ResponseWriter).Hijack()
}
