package api

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// door judges where a request comes from, before anything else is done with
// it. Three attacks by a web page that the user happens to have open are kept
// out, token or not:
//
//   - DNS rebinding: the page's own name is made to lead here, so that its
//     requests are same-origin to the browser. They name a foreign Host: 421.
//   - A request across origins that needs no CORS: a WebSocket, a form, a
//     simple fetch. It has a foreign Origin: 403.
//   - Embedding as an image, script or frame, without an Origin. It has a
//     Sec-Fetch-Site of cross-site or same-site: 403.
//
// A client that is no browser sends neither Origin nor Sec-Fetch-Site, and is
// admitted: it could send whatever it likes.
type door struct {
	hosts  []allowed // beside loopback names
	wild   bool      // the listener takes every address of this machine
	tokens bool
}

// allowed is a host that requests may name.
type allowed struct {
	name string // in lower case, without brackets or a last dot
	port string // empty for any
	own  bool   // the operator named it as ours, so its pages are ours
}

func newDoor(cfg Config) *door {
	d := &door{tokens: cfg.Keys != nil}
	host, port, _ := net.SplitHostPort(cfg.Listen)
	if addr, err := netip.ParseAddr(host); host == "" || err == nil && addr.IsUnspecified() {
		d.wild = true
	} else {
		d.hosts = append(d.hosts, allowed{name: hostName(host), port: port})
		// Behind a port forward or a published port the port is another.
		d.hosts = append(d.hosts, allowed{name: hostName(host)})
	}
	for _, h := range cfg.AllowHosts {
		a, _ := parseAllowed(h)
		d.hosts = append(d.hosts, a)
	}
	return d
}

func hostName(s string) string { return strings.TrimSuffix(strings.ToLower(s), ".") }

// parseAllowed reads an entry of Config.AllowHosts.
func parseAllowed(s string) (allowed, error) {
	name, port, ok := splitHost(s)
	if !ok {
		return allowed{}, errors.New("write it as name or name:port, without scheme, path or wildcard")
	}
	return allowed{name: name, port: port, own: true}, nil
}

// splitHost splits a Host header, or the host of an origin, into name and port.
// It is false for what is no host at all.
func splitHost(s string) (name, port string, ok bool) {
	name = s
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return "", "", false
		}
		name, port = s[1:end], s[end+1:]
		addr, err := netip.ParseAddr(name)
		if err != nil || !addr.Is6() || addr.Zone() != "" {
			return "", "", false
		}
		name = addr.String()
	} else {
		if i := strings.IndexByte(s, ':'); i >= 0 {
			name, port = s[:i], s[i:]
		}
		name = hostName(name)
		if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-._") != "" {
			return "", "", false
		}
	}
	if port == "" {
		return name, "", true
	}
	port = port[1:]
	if s[len(s)-len(port)-1] != ':' || port == "" || len(port) > 5 || strings.Trim(port, "0123456789") != "" {
		return "", "", false
	}
	return name, port, true
}

// free reports whether a path needs no token: it tells nothing of activities.
func (d *door) free(path string) bool {
	if !d.tokens {
		return true
	}
	switch path {
	case "/", "/healthz", "/readyz", "/session", "/monitor":
		return true
	}
	return strings.HasPrefix(path, "/monitor/")
}

// page reports whether a path is the dashboard's, to which links may lead.
func page(path string) bool {
	return path == "/" || path == "/monitor" || strings.HasPrefix(path, "/monitor/")
}

// admit returns why a request is refused, or nil.
func (d *door) admit(r *http.Request) *problem {
	switch r.URL.Path {
	case "/healthz", "/readyz", "/metrics":
		// Probes and scrapers come by whatever name they were given.
	default:
		if !d.host(r) {
			return &problem{status: http.StatusMisdirectedRequest, detail: "the host that this request names is not one of this server's: use localhost, the listen address, or allow the name with --allow-host, in a Go program with Config.AllowHosts"}
		}
	}
	if !d.origin(r) {
		return &problem{status: http.StatusForbidden, detail: "requests from pages of other origins are refused"}
	}
	if !d.site(r) {
		return &problem{status: http.StatusForbidden, detail: "requests that other sites make are refused"}
	}
	return nil
}

func (d *door) host(r *http.Request) bool {
	name, port, ok := splitHost(r.Host)
	if !ok {
		return false
	}
	if Loopback(name) {
		return true
	}
	if d.wild {
		// An address can't be rebound, a name can: only the very address that
		// the connection came in by is taken.
		addr, err := netip.ParseAddr(name)
		local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
		if err == nil && local != nil {
			if at, err := netip.ParseAddrPort(local.String()); err == nil && at.Addr().Unmap().WithZone("") == addr.Unmap() {
				return true
			}
		}
	}
	return slices.ContainsFunc(d.hosts, func(a allowed) bool {
		return a.name == name && (a.port == "" || a.port == port)
	})
}

// origin reports whether the request names no origin, or this server's: the
// host and port that it was sent to, or a host that the operator named.
func (d *door) origin(r *http.Request) bool {
	values := r.Header.Values("Origin")
	if len(values) == 0 {
		return true
	}
	if len(values) > 1 {
		return false
	}
	// "null", of sandboxed frames and files, has no scheme and falls here.
	u, err := url.Parse(values[0])
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.User != nil ||
		values[0] != u.Scheme+"://"+u.Host {
		return false
	}
	defaultPort := map[string]string{"http": "80", "https": "443"}[u.Scheme]
	name, port, ok := splitHost(u.Host)
	if !ok {
		return false
	}
	if port == "" {
		port = defaultPort
	}
	if r.TLS != nil && u.Scheme != "https" {
		return false
	}
	if host, hostPort, ok := splitHost(r.Host); ok && host == name && (hostPort == port || hostPort == "" && port == defaultPort) {
		return true
	}
	// A proxy may have put its own name for the server into Host. What the
	// operator allowed without a port is a site on its scheme's own port.
	return slices.ContainsFunc(d.hosts, func(a allowed) bool {
		return a.own && a.name == name && (a.port == port || a.port == "" && port == defaultPort)
	})
}

// site judges by what the browser says about who makes the request.
func (d *door) site(r *http.Request) bool {
	values := r.Header.Values("Sec-Fetch-Site")
	if len(values) == 0 {
		return true
	}
	if len(values) > 1 {
		return false
	}
	read := r.Method == http.MethodGet || r.Method == http.MethodHead
	// The user follows a link in a window of its own; a frame is no document.
	follows := read && r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
	switch values[0] {
	case "same-origin":
		return true
	case "none":
		return read // typed, or from a bookmark
	case "same-site", "cross-site":
		return follows && page(r.URL.Path)
	}
	return false
}

// harden sets what every answer tells the browser. A page may set a policy of
// its own instead.
func (d *door) harden(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Frame-Options", "DENY")
	if page(r.URL.Path) {
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Content-Security-Policy", "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
		return
	}
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
}
