// Command decoder takes traces by OTLP over gRPC, decodes them and forgets them: what any receiver on the
// Collector's libraries costs at least.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"

	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"
)

func main() {
	address := flag.String("grpc", "127.0.0.1:4317", "`address` to listen on")
	flag.Parse()
	if err := serve(*address); err != nil {
		fmt.Fprintln(os.Stderr, "decoder:", err)
		os.Exit(1)
	}
}

func serve(address string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(16 << 20))
	ptraceotlp.RegisterGRPCServer(server, &service{})
	context.AfterFunc(ctx, server.Stop)
	if err := server.Serve(listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return err
	}
	return nil
}

type service struct {
	ptraceotlp.UnimplementedGRPCServer
}

func (*service) Export(_ context.Context, req ptraceotlp.ExportRequest) (ptraceotlp.ExportResponse, error) {
	if req.Traces().SpanCount() == 0 {
		return ptraceotlp.NewExportResponse(), errors.New("no span")
	}
	return ptraceotlp.NewExportResponse(), nil
}
