package receiver

import (
	"context"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/gzip" // is registered by this
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// GRPCServer returns a server for OTLP's services for traces and logs, bounded
// as the configuration says.
func (r *Receiver) GRPCServer() *grpc.Server {
	held := &r.cfg.Connections
	opts := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(r.cfg.MaxBytes),
		grpc.MaxHeaderListSize(uint32(r.cfg.MaxHeaderBytes)),
		grpc.MaxConcurrentStreams(uint32(r.cfg.MaxStreams)),
		grpc.ConnectionTimeout(held.Header),
		// A peer that is gone is noticed; one that pings often is no attacker.
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: held.Ping, Timeout: held.PingTimeout, MaxConnectionAge: held.MaxAge}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: held.MinPing, PermitWithoutStream: true}),
		grpc.ForceServerCodecV2(rawCodec{}),
	}
	if r.cfg.TLS != nil {
		opts = append(opts, grpc.Creds(credentials.NewTLS(r.cfg.TLS)))
	}
	g := grpc.NewServer(opts...)
	for _, s := range served {
		// As a stream of one message each way, which is the same to its peer, it can be
		// turned away before it is read.
		g.RegisterService(&grpc.ServiceDesc{
			ServiceName: s.service,
			HandlerType: (*any)(nil),
			Streams:     []grpc.StreamDesc{{StreamName: "Export", Handler: func(_ any, call grpc.ServerStream) error { return r.call(s, call) }}},
		}, nil)
	}
	return g
}

func (r *Receiver) call(s *signal, call grpc.ServerStream) error {
	md, _ := metadata.FromIncomingContext(call.Context())
	if why := r.admits(md.Get("authorization")); why != nil {
		return why.status().Err()
	}
	ctx, cancel := context.WithTimeout(call.Context(), r.cfg.Connections.Request)
	defer cancel()
	// How much of it has come is not told: it counts as the most that may.
	up := r.reading[s.number].join(r.counts(len(sizes)+1), cancel)
	if up == nil {
		r.refuse(s, nil)
		return errBusy.status().Err()
	}
	req, err := receive(ctx, call)
	gone := up.leave()
	if err != nil {
		switch {
		case gone:
			r.refuse(s, nil)
			return errBusy.status().Err()
		case status.Code(err) == codes.ResourceExhausted:
			r.tooLarge.Add(1)
		}
		return err
	}
	defer req.Free()
	if !r.begin(s, req.ReadOnlyData()) {
		return errBusy.status().Err()
	}
	defer r.end(s)
	answer, why := r.take(ctx, s, req.ReadOnlyData(), false)
	if why != nil {
		return why.status().Err()
	}
	out, err := answer.MarshalProto()
	if err != nil {
		return status.Error(codes.Internal, "encode the answer: "+err.Error())
	}
	return call.SendMsg(mem.SliceBuffer(out))
}

// receive returns the one message of a call. A peer that does not send it in
// time is cut off.
func receive(ctx context.Context, call grpc.ServerStream) (mem.Buffer, error) {
	type received struct {
		req mem.Buffer
		err error
	}
	done := make(chan received, 1)
	go func() {
		var req mem.Buffer
		err := call.RecvMsg(&req)
		done <- received{req, err}
	}()
	select {
	case got := <-done:
		return got.req, got.err
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
}

// rawCodec leaves messages as bytes.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.(mem.Buffer)
	if !ok {
		return nil, fmt.Errorf("receiver: an answer is of type %T", v)
	}
	return mem.BufferSlice{b}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	b, ok := v.(*mem.Buffer)
	if !ok {
		return fmt.Errorf("receiver: a request goes to type %T", v)
	}
	*b = data.MaterializeToBuffer(mem.DefaultBufferPool())
	return nil
}

// status returns the failure as gRPC tells it, and OTLP over HTTP in a body.
func (f *failure) status() *status.Status {
	s := status.New(f.code, f.text)
	if f.retry {
		// What makes RESOURCE_EXHAUSTED one to retry, by the OTLP specification.
		if with, err := s.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(retryAfter)}); err == nil {
			return with
		}
	}
	return s
}

func init() { encoding.RegisterCompressor(zstdCompressor{}) }

// zstdCompressor is gRPC's "zstd".
type zstdCompressor struct{}

func (zstdCompressor) Name() string { return "zstd" }

func (zstdCompressor) Compress(w io.Writer) (io.WriteCloser, error) {
	return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
}

func (zstdCompressor) Decompress(r io.Reader) (io.Reader, error) { return unzstd(r) }

// unzstd returns what reads zstd on the caller's goroutine, in bounded memory.
func unzstd(r io.Reader) (io.Reader, error) {
	return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20),
		zstd.WithDecoderMaxWindow(8<<20), zstd.WithDecoderLowmem(true))
}
