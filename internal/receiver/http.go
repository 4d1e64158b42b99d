package receiver

import (
	"bytes"
	"compress/gzip"
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
	var sent buffer
	defer sent.free()
	if why := r.read(s, w, h, &sent); why != nil {
		answer(w, kind, why)
		return
	}
	body, packing := sent.b, packingOf(h)
	told := body
	if packing != "" {
		told = nil
	}
	if !r.begin(s, told) {
		answer(w, kind, errBusy)
		return
	}
	defer r.end(s)
	if packing != "" {
		plain := bodies.Get().(*bytes.Buffer)
		defer func() {
			if plain.Cap() <= maxPooled {
				bodies.Put(plain)
			}
		}()
		plain.Reset()
		if why := r.unpack(packing, body, plain); why != nil {
			answer(w, kind, why)
			return
		}
		body = plain.Bytes()
	}
	resp, why := r.take(h.Context(), s, body, kind == typeJSON)
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

// bodies are used again, as buffers are.
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
	switch packingOf(h) {
	case "", "gzip", "zstd":
		return nil
	}
	return &failure{
		code: codes.InvalidArgument, http: http.StatusUnsupportedMediaType, text: "Content-Encoding is neither gzip nor zstd",
	}
}

// contentType returns the one of both that the request is in, or "".
func contentType(h *http.Request) string {
	kind, _, err := mime.ParseMediaType(h.Header.Get("Content-Type"))
	if err != nil || kind != typeProto && kind != typeJSON {
		return ""
	}
	return kind
}

// packingOf returns how the body is packed, or "".
func packingOf(h *http.Request) string {
	switch packing := strings.ToLower(strings.TrimSpace(h.Header.Get("Content-Encoding"))); packing {
	case "identity", "none":
		return ""
	default:
		return packing
	}
}

// unpack fills plain with what a body holds.
func (r *Receiver) unpack(packing string, body []byte, plain *bytes.Buffer) *failure {
	from := io.Reader(bytes.NewReader(body))
	var err error
	if packing == "gzip" {
		from, err = gzip.NewReader(from)
	} else {
		from, err = unzstd(from)
	}
	if err == nil {
		if c, ok := from.(interface{ Close() }); ok { // zstd's
			defer c.Close()
		}
		_, err = plain.ReadFrom(io.LimitReader(from, int64(r.cfg.MaxBytes)+1))
	}
	switch {
	case plain.Len() > r.cfg.MaxBytes:
		return r.large()
	case err != nil:
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
