// Package dashboard serves the monitor: the committed build of the web source
// in this directory, and nothing else. The page talks only to the public
// /activity API of the server that it came from.
package dashboard

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
)

//go:embed all:dist
var dist embed.FS

// Prefix is where Handler serves: the build's own links start with it.
const Prefix = "/monitor/"

// csp lets the page run its own files and talk to its own origin, and do
// nothing else. Svelte makes its templates under one Trusted Types policy.
const csp = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; " +
	"font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
	"require-trusted-types-for 'script'; trusted-types svelte-trusted-html"

// types are the media types of the build. The operating system's table is not
// asked: it differs from machine to machine.
var types = map[string]string{
	".css":   "text/css; charset=utf-8",
	".html":  "text/html; charset=utf-8",
	".js":    "text/javascript; charset=utf-8",
	".svg":   "image/svg+xml",
	".txt":   "text/plain; charset=utf-8",
	".woff2": "font/woff2",
}

type file struct {
	contentType string
	etag        string
	plain       []byte
	gzipped     func() []byte // made when first asked for; nil when it would not be smaller
}

type handler map[string]*file

// Handler returns the handler of /monitor and everything below it, to be
// mounted without stripping the prefix. It answers GET and HEAD; /monitor
// redirects to /monitor/, and a path that is not of the build is a 404. File
// names are the same in every version, so a browser asks again each time and
// is answered 304 while the file is the one it has. It is safe for concurrent
// use.
func Handler() http.Handler {
	h := handler{}
	err := fs.WalkDir(dist, "dist", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := dist.ReadFile(name)
		if err != nil {
			return err
		}
		h[strings.TrimPrefix(name, "dist/")] = newFile(name, data)
		return nil
	})
	if err != nil {
		panic("dashboard: read the embedded build: " + err.Error())
	}
	return h
}

func newFile(name string, data []byte) *file {
	sum := sha256.Sum256(data)
	f := &file{contentType: types[path.Ext(name)], etag: hex.EncodeToString(sum[:12]), plain: data}
	if f.contentType == "" {
		f.contentType = "application/octet-stream"
	}
	f.gzipped = sync.OnceValue(func() []byte { return compress(data) })
	return f
}

func compress(data []byte) []byte {
	var buf bytes.Buffer
	w, err := gzip.NewWriterLevel(&buf, gzip.BestCompression)
	if err != nil {
		return nil
	}
	// Writes to a buffer do not fail.
	_, _ = w.Write(data)
	_ = w.Close()
	if buf.Len() > len(data)*9/10 {
		return nil
	}
	return buf.Bytes()
}

func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Security-Policy", csp)
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("X-Frame-Options", "DENY")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")

	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	if r.URL.Path == strings.TrimSuffix(Prefix, "/") {
		target := Prefix
		if r.URL.RawQuery != "" {
			target += "?" + r.URL.RawQuery
		}
		http.Redirect(w, r, target, http.StatusPermanentRedirect)
		return
	}
	name, ok := strings.CutPrefix(r.URL.Path, Prefix)
	if name == "" {
		name = "index.html"
	}
	f := h[name]
	if !ok || f == nil {
		http.NotFound(w, r)
		return
	}
	f.serve(w, r)
}

func (f *file) serve(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Cache-Control", "no-cache")
	body, etag := f.plain, `"`+f.etag+`"`
	if gzipped := f.gzipped(); gzipped != nil {
		header.Set("Vary", "Accept-Encoding")
		if acceptsGzip(r.Header.Values("Accept-Encoding")) {
			body, etag = gzipped, `"`+f.etag+`-gzip"`
			header.Set("Content-Encoding", "gzip")
		}
	}
	header.Set("ETag", etag)
	if matches(r.Header.Values("If-None-Match"), etag) {
		header.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	header.Set("Content-Type", f.contentType)
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodGet {
		// A client that went away needs no answer.
		_, _ = w.Write(body)
	}
}

// acceptsGzip reads Accept-Encoding (RFC 9110, section 12.5.3) as far as it
// decides between gzip and the plain file.
func acceptsGzip(values []string) bool {
	accepted := false
	for item := range strings.SplitSeq(strings.Join(values, ","), ",") {
		coding, params, _ := strings.Cut(item, ";")
		coding = strings.ToLower(strings.TrimSpace(coding))
		if coding != "gzip" && coding != "*" {
			continue
		}
		key, value, _ := strings.Cut(strings.TrimSpace(params), "=")
		weight, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		yes := !strings.EqualFold(strings.TrimSpace(key), "q") || (err == nil && weight > 0)
		if coding == "gzip" {
			return yes
		}
		accepted = yes
	}
	return accepted
}

// matches compares weakly, as If-None-Match asks (RFC 9110, section 13.1.2).
func matches(values []string, etag string) bool {
	for item := range strings.SplitSeq(strings.Join(values, ","), ",") {
		item = strings.TrimSpace(item)
		if item == "*" || strings.TrimPrefix(item, "W/") == etag {
			return true
		}
	}
	return false
}
