package dashboard

import (
	"compress/gzip"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

func get(t *testing.T, method, target string, header http.Header) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	maps.Copy(r.Header, header)
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, r)
	return w.Result()
}

func TestHandler(t *testing.T) {
	tests := []struct {
		name, method, target string
		status               int
		contentType          string
		location             string
	}{
		{name: "page", method: "GET", target: "/monitor/", status: 200, contentType: "text/html; charset=utf-8"},
		{name: "page with state", method: "GET", target: "/monitor/?view=feed&state=failed", status: 200, contentType: "text/html; charset=utf-8"},
		{name: "script", method: "GET", target: "/monitor/app.js", status: 200, contentType: "text/javascript; charset=utf-8"},
		{name: "style", method: "GET", target: "/monitor/app.css", status: 200, contentType: "text/css; charset=utf-8"},
		{name: "font", method: "GET", target: "/monitor/geist-latin-wght-normal.woff2", status: 200, contentType: "font/woff2"},
		{name: "icon", method: "GET", target: "/monitor/icon.svg", status: 200, contentType: "image/svg+xml"},
		{name: "head", method: "HEAD", target: "/monitor/app.js", status: 200, contentType: "text/javascript; charset=utf-8"},
		{name: "no slash", method: "GET", target: "/monitor", status: 308, location: "/monitor/"},
		{name: "no slash keeps state", method: "GET", target: "/monitor?q=a%20b", status: 308, location: "/monitor/?q=a%20b"},
		{name: "unknown file", method: "GET", target: "/monitor/nothing.js", status: 404},
		{name: "unknown directory", method: "GET", target: "/monitor/nothing/", status: 404},
		{name: "parent directory", method: "GET", target: "/monitor/../embed.go", status: 404},
		{name: "encoded parent directory", method: "GET", target: "/monitor/%2e%2e/embed.go", status: 404},
		{name: "outside", method: "GET", target: "/app.js", status: 404},
		{name: "post", method: "POST", target: "/monitor/", status: 405},
		{name: "delete", method: "DELETE", target: "/monitor/app.js", status: 405},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			res := get(t, test.method, test.target, nil)
			if res.StatusCode != test.status {
				t.Fatalf("status %d, want %d", res.StatusCode, test.status)
			}
			if test.contentType != "" && res.Header.Get("Content-Type") != test.contentType {
				t.Errorf("Content-Type %q, want %q", res.Header.Get("Content-Type"), test.contentType)
			}
			if got := res.Header.Get("Location"); got != test.location {
				t.Errorf("Location %q, want %q", got, test.location)
			}
			if res.Header.Get("X-Content-Type-Options") != "nosniff" {
				t.Error("no nosniff")
			}
			if res.Header.Get("Content-Security-Policy") != csp {
				t.Error("no content security policy")
			}
			body, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			if test.method == "HEAD" && len(body) != 0 {
				t.Errorf("HEAD has a body of %d bytes", len(body))
			}
			if test.status == 405 && res.Header.Get("Allow") != "GET, HEAD" {
				t.Errorf("Allow %q", res.Header.Get("Allow"))
			}
		})
	}
}

func TestCaching(t *testing.T) {
	plain := get(t, "GET", "/monitor/app.js", nil)
	zipped := get(t, "GET", "/monitor/app.js", http.Header{"Accept-Encoding": {"br, gzip"}})
	if got := plain.Header.Get("Content-Encoding"); got != "" {
		t.Errorf("Content-Encoding %q without being asked", got)
	}
	if got := zipped.Header.Get("Content-Encoding"); got != "gzip" {
		t.Fatalf("Content-Encoding %q, want gzip", got)
	}
	want, err := io.ReadAll(plain.Body)
	if err != nil {
		t.Fatal(err)
	}
	r, err := gzip.NewReader(zipped.Body)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Error("the compressed file is another one")
	}

	for name, res := range map[string]*http.Response{"plain": plain, "gzip": zipped} {
		etag := res.Header.Get("ETag")
		if etag == "" || res.Header.Get("Cache-Control") != "no-cache" || res.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s: ETag %q, Cache-Control %q, Vary %q", name, etag, res.Header.Get("Cache-Control"), res.Header.Get("Vary"))
		}
		header := http.Header{"If-None-Match": {`"other", W/` + etag}}
		if name == "gzip" {
			header.Set("Accept-Encoding", "gzip")
		}
		again := get(t, "GET", "/monitor/app.js", header)
		if again.StatusCode != http.StatusNotModified || again.Header.Get("ETag") != etag {
			t.Errorf("%s: asked again: status %d, ETag %q", name, again.StatusCode, again.Header.Get("ETag"))
		}
	}
	if plain.Header.Get("ETag") == zipped.Header.Get("ETag") {
		t.Error("two representations share an ETag")
	}
}

func TestAcceptsGzip(t *testing.T) {
	tests := map[string]bool{
		"":                   false,
		"gzip":               true,
		"br, GZIP;q=0.5":     true,
		"gzip;q=0":           false,
		"gzip; q=0.000, br":  false,
		"*":                  true,
		"*, gzip;q=0":        false,
		"identity":           false,
		"gzipped":            false,
		"deflate, gzip;q=1 ": true,
	}
	for value, want := range tests {
		if got := acceptsGzip([]string{value}); got != want {
			t.Errorf("acceptsGzip(%q) = %v, want %v", value, got, want)
		}
	}
}

// The page may name only files of the build, and hold nothing that its policy refuses.
func TestBuild(t *testing.T) {
	page, err := fs.ReadFile(dist, "dist/index.html")
	if err != nil {
		t.Fatal(err)
	}
	html := string(page)
	for _, match := range regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllStringSubmatch(html, -1) {
		if res := get(t, "GET", match[1], nil); res.StatusCode != 200 {
			t.Errorf("%s: status %d", match[1], res.StatusCode)
		}
	}
	for _, refused := range []string{"<style", " style=", " onclick=", " onload=", "http://", "https://"} {
		if strings.Contains(html, refused) {
			t.Errorf("index.html contains %q", refused)
		}
	}
	if scripts := regexp.MustCompile(`<script[^>]*>[^<]`).FindString(html); scripts != "" {
		t.Errorf("inline script %q", scripts)
	}
	budgets := []struct {
		files  string
		budget int64
	}{
		{"app.js shared.js", 60 << 10}, {"app.css shared.css", 12 << 10}, // the first load
		{"timeline.js", 25 << 10}, {"work.js", 25 << 10}, {"shell.js", 25 << 10}, {"time.js", 25 << 10},
		{"later.js", 25 << 10},
		{"timeline.css", 6 << 10}, {"work.css", 6 << 10}, {"shell.css", 6 << 10}, {"time.css", 6 << 10},
	}
	for _, b := range budgets {
		var size int64
		for name := range strings.FieldsSeq(b.files) {
			res := get(t, "GET", "/monitor/"+name, http.Header{"Accept-Encoding": {"gzip"}})
			if res.StatusCode != 200 {
				t.Errorf("%s: status %d", name, res.StatusCode)
			}
			size += res.ContentLength
		}
		if size > b.budget {
			t.Errorf("%s: %d bytes compressed, more than %d", b.files, size, b.budget)
		}
	}
	// What the page loads at first is what the first two budgets count.
	for _, match := range regexp.MustCompile(`/monitor/(\w+\.(?:js|css))"`).FindAllStringSubmatch(html, -1) {
		if name := match[1]; name != "theme.js" && !strings.Contains(budgets[0].files+" "+budgets[1].files, name) {
			t.Errorf("%s is loaded at first and counted nowhere", name)
		}
	}
}

func BenchmarkHandler(b *testing.B) {
	h := Handler()
	r := httptest.NewRequest("GET", "/monitor/app.js", nil)
	r.Header.Set("Accept-Encoding", "gzip")
	for b.Loop() {
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
}
