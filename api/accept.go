package api

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// preferred returns the media type among the offers that the request's Accept
// header likes best (RFC 9110 section 12.5.1), the first of equals, or "" when
// it accepts none. Without the header it accepts all.
func preferred(r *http.Request, offers ...string) string {
	header := strings.Join(r.Header.Values("Accept"), ",")
	if strings.TrimSpace(header) == "" {
		return offers[0]
	}
	best, bestQ := "", 0.0
	for _, offer := range offers {
		if q := quality(header, offer); q > bestQ {
			best, bestQ = offer, q
		}
	}
	return best
}

// quality returns the weight that an Accept header gives a media type: that of
// the most specific range which holds it.
func quality(header, offer string) float64 {
	kind, _, _ := strings.Cut(offer, "/")
	q, rank := 0.0, 0
	for item := range strings.SplitSeq(header, ",") {
		name, params, _ := strings.Cut(item, ";")
		name = strings.ToLower(strings.TrimSpace(name))
		r := 1 + slices.Index([]string{"*/*", kind + "/*", offer}, name)
		if r > rank {
			rank, q = r, weight(params)
		}
	}
	return q
}

// weight returns the q of a header item's parameters; one that can't be read is 0.
func weight(params string) float64 {
	for param := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(param, "=")
		if strings.ToLower(strings.TrimSpace(name)) != "q" {
			continue
		}
		q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil || !(q >= 0 && q <= 1) {
			return 0
		}
		return q
	}
	return 1
}

// acceptsGzip reports whether a request's Accept-Encoding names gzip, by
// itself or by "*".
func acceptsGzip(r *http.Request) bool {
	q, named := 0.0, false
	for item := range strings.SplitSeq(strings.Join(r.Header.Values("Accept-Encoding"), ","), ",") {
		name, params, _ := strings.Cut(item, ";")
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "gzip":
			q, named = weight(params), true
		case "*":
			if !named {
				q = weight(params)
			}
		}
	}
	return q > 0
}
