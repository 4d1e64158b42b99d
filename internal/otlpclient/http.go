package otlpclient

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

const (
	tracesPath   = "v1/traces"
	contentProto = "application/x-protobuf"
	maxAnswer    = 64 << 10 // bytes of an answer that are read
)

type httpTransport struct {
	url     string
	headers map[string]Secret
	client  *http.Client
	packers *sync.Pool // of *gzip.Writer; nil without
}

func newHTTP(u *url.URL, headers map[string]Secret, packed bool) (transport, error) {
	base, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return nil, errors.New("OTLP by HTTP: http.DefaultTransport was replaced")
	}
	base = base.Clone()
	base.MaxIdleConnsPerHost = base.MaxIdleConns
	base.DisableCompression = true
	base.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	t := &httpTransport{headers: headers, client: &http.Client{
		Transport: base,
		// A redirect would carry the headers' secrets elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	t.url = u.String()
	if !strings.HasSuffix(strings.TrimRight(u.Path, "/"), "/"+tracesPath) {
		t.url = u.JoinPath(tracesPath).String()
	}
	if packed {
		t.packers = &sync.Pool{}
	}
	return t, nil
}

func (t *httpTransport) send(ctx context.Context, request []byte) (Result, error) {
	body := request
	if t.packers != nil {
		body = t.pack(request)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url, bytes.NewReader(body))
	if err != nil {
		return Result{}, &Error{Text: err.Error(), err: err}
	}
	req.Header.Set("Content-Type", contentProto)
	req.Header.Set("User-Agent", "midspan")
	if t.packers != nil {
		req.Header.Set("Content-Encoding", "gzip")
	}
	for name, value := range t.headers {
		req.Header.Set(name, string(value))
	}
	resp, err := t.client.Do(req)
	if err != nil {
		return Result{}, &Error{Text: cut(err.Error()), Retry: true, err: err}
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode/100 != 2 {
		return Result{}, httpError(resp, said)
	}
	if err != nil { // cut off: nobody knows what it would have said
		return Result{}, &Error{Text: cut("read the answer: " + err.Error()), Retry: true, err: err}
	}
	return answer(said), nil
}

func (t *httpTransport) pack(request []byte) []byte {
	out := bytes.NewBuffer(make([]byte, 0, len(request)/4))
	z, ok := t.packers.Get().(*gzip.Writer)
	if !ok {
		z, _ = gzip.NewWriterLevel(out, gzip.BestSpeed) // errs for other levels only
	}
	z.Reset(out)
	_, _ = z.Write(request) // into memory, which takes all
	_ = z.Close()
	t.packers.Put(z)
	return out.Bytes()
}

func (t *httpTransport) close() error {
	t.client.CloseIdleConnections()
	return nil
}

// httpError tells which answers may be retried.
// Source: https://opentelemetry.io/docs/specs/otlp/#failures-1
func httpError(resp *http.Response, body []byte) *Error {
	e := &Error{Text: resp.Status}
	if why := said(resp.Header.Get("Content-Type"), body); why != "" {
		e.Text = cut(resp.Status + ": " + why)
	}
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		e.Retry = true
		e.After = retryAfter(resp.Header.Get("Retry-After"), time.Now())
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired, http.StatusNotFound, http.StatusMethodNotAllowed:
		// Nothing is said of the spans: the token or the address is wrong, which
		// somebody will mend.
		e.Retry = true
	}
	if resp.StatusCode/100 == 3 {
		e.Retry = true // the address is wrong, too
		e.Text = fmt.Sprintf("%s: it is served elsewhere", resp.Status)
	}
	return e
}

// said returns the message of a Status, in which OTLP tells a failure, or else
// the body as it is.
func said(contentType string, body []byte) string {
	var s statuspb.Status
	switch {
	case strings.HasPrefix(contentType, contentProto):
		if proto.Unmarshal(body, &s) == nil {
			return s.GetMessage()
		}
	case strings.HasPrefix(contentType, "application/json"):
		if (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(body, &s) == nil && s.GetMessage() != "" {
			return s.GetMessage()
		}
	}
	return string(body)
}

// retryAfter reads the header's two forms: seconds, or a date.
func retryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.Atoi(value); err == nil {
		return time.Duration(min(max(seconds, 0), 24*60*60)) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}
