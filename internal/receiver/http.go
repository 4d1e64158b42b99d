package receiver

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

const (
	typeProto = "application/x-protobuf"
	typeJSON  = "application/json"
)

// HTTPServer returns a server for [Receiver.Handler], bounded as the
// configuration says.
func (r *Receiver) HTTPServer() *http.Server {
	held := &r.cfg.Connections
	s := &http.Server{
		Handler: r.Handler(), TLSConfig: r.cfg.TLS, MaxHeaderBytes: r.cfg.MaxHeaderBytes,
		ReadHeaderTimeout: held.Header, ReadTimeout: held.Request, WriteTimeout: 2 * held.Request, IdleTimeout: held.Idle,
		ErrorLog: slog.NewLogLogger(r.cfg.Logger.Handler(), slog.LevelWarn),
	}
	return s
}

// Handler serves OTLP over HTTP: POST /v1/traces and /v1/logs, as protobuf or
// JSON, plain or packed by gzip or zstd.
func (r *Receiver) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, s := range served {
		mux.HandleFunc(s.path, func(w http.ResponseWriter, h *http.Request) { r.serve(s, w, h) })
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, h *http.Request) {
		answer(w, contentType(h), &failure{
			code: codes.Unimplemented, http: http.StatusNotFound,
			text: "only /v1/traces and /v1/logs are served here",
		})
	})
	return mux
}

func (r *Receiver) serve(s *signal, w http.ResponseWriter, h *http.Request) {
	kind := contentType(h)
	if why := r.refusal(h, kind); why != nil {
		if why.http == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", http.MethodPost)
		}
		answer(w, kind, why)
		return
	}
	if !r.begin(s) {
		answer(w, kind, errBusy)
		return
	}
	defer r.end(s)
	body := bodies.Get().(*bytes.Buffer)
	defer func() {
		if body.Cap() <= maxPooled {
			bodies.Put(body)
		}
	}()
	body.Reset()
	if why := r.read(w, h, body); why != nil {
		answer(w, kind, why)
		return
	}
	resp, why := r.take(h.Context(), s, body.Bytes(), kind == typeJSON)
	if why != nil {
		answer(w, kind, why)
		return
	}
	encode := resp.MarshalProto
	if kind == typeJSON {
		encode = resp.MarshalJSON
	}
	out, err := encode()
	if err != nil {
		answer(w, kind, &failure{code: codes.Internal, http: http.StatusInternalServerError, text: "encode the answer: " + err.Error()})
		return
	}
	w.Header().Set("Content-Type", kind)
	_, _ = w.Write(out) // who went away does not need it
}

// bodies are used again: the decoder copies what it keeps.
var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

const maxPooled = 1 << 20

// refusal returns why a request is not read at all, or nil.
func (r *Receiver) refusal(h *http.Request, kind string) *failure {
	site := h.Header.Get("Sec-Fetch-Site")
	if h.Header.Get("Origin") != "" || site != "" && site != "none" {
		// By rebinding of DNS any page can reach a loopback address.
		return &failure{code: codes.PermissionDenied, http: http.StatusForbidden, text: "requests of web pages are not taken"}
	}
	if why := r.admits(h.Header.Values("Authorization")); why != nil {
		return why
	}
	switch {
	case h.Method != http.MethodPost:
		return &failure{code: codes.InvalidArgument, http: http.StatusMethodNotAllowed, text: "use POST"}
	case kind == "":
		return &failure{
			code: codes.InvalidArgument, http: http.StatusUnsupportedMediaType,
			text: "Content-Type is neither " + typeProto + " nor " + typeJSON,
		}
	}
	return nil
}

// contentType returns the one of both that the request is in, or "".
func contentType(h *http.Request) string {
	kind, _, err := mime.ParseMediaType(h.Header.Get("Content-Type"))
	if err != nil || kind != typeProto && kind != typeJSON {
		return ""
	}
	return kind
}

// read fills body with the request's, unpacked.
func (r *Receiver) read(w http.ResponseWriter, h *http.Request, body *bytes.Buffer) *failure {
	limit := int64(r.cfg.MaxBytes)
	large := &failure{
		code: codes.ResourceExhausted, http: http.StatusRequestEntityTooLarge,
		text: fmt.Sprintf("the request is larger than %d bytes: send smaller batches", limit),
	}
	if h.ContentLength > limit {
		r.tooLarge.Add(1)
		return large
	}
	packed := io.Reader(http.MaxBytesReader(w, h.Body, limit))
	plain := packed
	var err error
	switch strings.ToLower(strings.TrimSpace(h.Header.Get("Content-Encoding"))) {
	case "", "identity", "none":
		if h.ContentLength > 0 {
			body.Grow(int(h.ContentLength))
		}
	case "gzip":
		plain, err = gzip.NewReader(packed)
	case "zstd":
		plain, err = unzstd(packed)
	default:
		return &failure{
			code: codes.InvalidArgument, http: http.StatusUnsupportedMediaType, text: "Content-Encoding is neither gzip nor zstd",
		}
	}
	if err == nil {
		if c, ok := plain.(interface{ Close() }); ok { // zstd's
			defer c.Close()
		}
		_, err = body.ReadFrom(io.LimitReader(plain, limit+1))
	}
	if _, over := errors.AsType[*http.MaxBytesError](err); over || int64(body.Len()) > limit {
		r.tooLarge.Add(1)
		return large
	}
	if err != nil {
		return &failure{code: codes.InvalidArgument, http: http.StatusBadRequest, text: "read the body: " + err.Error()}
	}
	return nil
}

// answer tells a failure as OTLP does: a Status in the form of the request.
func answer(w http.ResponseWriter, kind string, f *failure) {
	if f.retry {
		w.Header().Set("Retry-After", strconv.Itoa(int(retryAfter.Seconds())))
	}
	s := f.status().Proto()
	var out []byte
	var err error
	if kind == typeProto {
		out, err = proto.Marshal(s)
	} else {
		kind = typeJSON
		out, err = protojson.Marshal(s)
	}
	if err != nil {
		http.Error(w, f.text, f.http)
		return
	}
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(f.http)
	_, _ = w.Write(out) // who went away does not need it
}
