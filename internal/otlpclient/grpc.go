package otlpclient

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/url"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	grpcgzip "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const exportMethod = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"

type grpcTransport struct {
	conn    *grpc.ClientConn
	headers metadata.MD
}

func newGRPC(u *url.URL, headers map[string]Secret, packed bool) (transport, error) {
	creds := insecure.NewCredentials()
	if secure(u) {
		creds = credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12})
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawCodec{})),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 500 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 5 * time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
		// Pings as rare as any server allows; the timeout is what ends a
		// connection on which nothing is acknowledged any more.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 5 * time.Minute, Timeout: 20 * time.Second}),
	}
	if packed {
		options = append(options, grpc.WithDefaultCallOptions(grpc.UseCompressor(grpcgzip.Name)))
	}
	conn, err := grpc.NewClient("dns:///"+u.Host, options...)
	if err != nil {
		return nil, fmt.Errorf("OTLP endpoint %s: %w", u, err)
	}
	t := &grpcTransport{conn: conn, headers: metadata.MD{}}
	for name, value := range headers {
		t.headers.Set(name, string(value))
	}
	return t, nil
}

func (t *grpcTransport) send(ctx context.Context, request []byte) (Result, error) {
	var body []byte
	if err := t.conn.Invoke(metadata.NewOutgoingContext(ctx, t.headers), exportMethod, request, &body); err != nil {
		return Result{}, grpcError(err)
	}
	return answer(body), nil
}

func (t *grpcTransport) close() error { return t.conn.Close() }

// grpcError tells which codes may be retried.
// Source: https://opentelemetry.io/docs/specs/otlp/#failures
func grpcError(err error) *Error {
	s := status.Convert(err)
	e := &Error{Text: cut(fmt.Sprintf("%s: %s", s.Code(), s.Message())), err: err}
	advised := false
	for _, detail := range s.Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			advised = true
			e.After = max(info.GetRetryDelay().AsDuration(), 0)
		}
	}
	switch s.Code() {
	case codes.Canceled, codes.DeadlineExceeded, codes.Aborted, codes.OutOfRange, codes.Unavailable, codes.DataLoss:
		e.Retry = true
	case codes.ResourceExhausted:
		e.Retry = advised
	case codes.Unauthenticated, codes.PermissionDenied, codes.Unimplemented:
		// Nothing is said of the spans: the token or the address is wrong, which
		// somebody will mend.
		e.Retry = true
	}
	return e
}

// rawCodec carries requests that are encoded already: they are []byte, answers
// *[]byte.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("encode %T: not bytes", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(b)}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("decode to %T: not bytes", v)
	}
	*b = data.Materialize()
	return nil
}

// gRPC's own gzip is the standard library's, at a third of the speed. What is
// registered last counts, and the import of grpcgzip makes this the last.
func init() { encoding.RegisterCompressor(&gzipCompressor{}) }

type gzipCompressor struct{ writers, readers sync.Pool }

func (*gzipCompressor) Name() string { return grpcgzip.Name }

func (c *gzipCompressor) Compress(w io.Writer) (io.WriteCloser, error) {
	z, ok := c.writers.Get().(*gzip.Writer)
	if !ok {
		z, _ = gzip.NewWriterLevel(w, gzip.BestSpeed) // errs for other levels only
	}
	z.Reset(w)
	return &pooledWriter{z, &c.writers}, nil
}

type pooledWriter struct {
	*gzip.Writer
	pool *sync.Pool
}

func (w *pooledWriter) Close() error {
	err := w.Writer.Close()
	w.pool.Put(w.Writer)
	return err
}

func (c *gzipCompressor) Decompress(r io.Reader) (io.Reader, error) {
	z, ok := c.readers.Get().(*gzip.Reader)
	if !ok {
		z = new(gzip.Reader)
	}
	if err := z.Reset(r); err != nil {
		c.readers.Put(z)
		return nil, err
	}
	return &pooledReader{z, &c.readers}, nil
}

// pooledReader goes back to the pool at its end, which gRPC always reads up to,
// but for messages that are too large.
type pooledReader struct {
	z    *gzip.Reader
	pool *sync.Pool
}

func (r *pooledReader) Read(p []byte) (int, error) {
	if r.z == nil {
		return 0, io.EOF
	}
	n, err := r.z.Read(p)
	if errors.Is(err, io.EOF) {
		r.pool.Put(r.z)
		r.z = nil
	}
	return n, err
}
