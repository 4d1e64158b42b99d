package receiver

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// issued is a certificate with its key, in PEM.
type issued struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  [2][]byte
}

// issue makes a certificate for 127.0.0.1, by itself or by an authority.
func issue(t *testing.T, serial int64, by *issued) *issued {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: by == nil, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return &issued{cert, key, [2][]byte{
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}),
	}}
}

func (i *issued) pair(t *testing.T) tls.Certificate {
	t.Helper()
	pair, err := tls.X509KeyPair(i.pem[0], i.pem[1])
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func write(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Both servers speak TLS, admit only clients that the authority knows, and take
// up renewed files without a restart.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	files := TLSFiles{filepath.Join(dir, "cert"), filepath.Join(dir, "key"), filepath.Join(dir, "ca")}
	authority, other := issue(t, 1, nil), issue(t, 2, nil)
	first := issue(t, 10, authority)
	write(t, files.Cert, first.pem[0])
	write(t, files.Key, first.pem[1])
	write(t, files.ClientCA, authority.pem[0])
	config, err := files.Config(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	x := newIndex()
	r := newReceiver(t, Config{Sink: sink{x}, TLS: config, Logger: slog.New(slog.DiscardHandler)})
	calls, takes := r.GRPCServer(), r.HTTPServer()
	listen := func() net.Listener {
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	byGRPC, byHTTP := listen(), listen()
	ended := make(chan error, 2)
	go func() { ended <- calls.Serve(byGRPC) }()
	go func() { ended <- Serve(takes, byHTTP) }()
	defer func() {
		calls.Stop()
		_ = takes.Close()
		<-ended
		<-ended
	}()

	roots := x509.NewCertPool()
	roots.AddCert(authority.cert)
	body := string(marshal(t, goodSpans(1, 0)))
	// send returns the serial number of the server's certificate. While the files
	// change what is sent by gRPC may meet others.
	changing := true
	send := func(client *issued) (serial int64, err error) {
		c := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
		if client != nil {
			c.Certificates = []tls.Certificate{client.pair(t)}
		}
		transport := &http.Transport{TLSClientConfig: c.Clone(), DisableKeepAlives: true, ForceAttemptHTTP2: true}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+byHTTP.Addr().String()+"/v1/traces", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", typeProto)
		resp, err := (&http.Client{Transport: transport}).Do(req)
		if err == nil {
			serial = resp.TLS.PeerCertificates[0].SerialNumber.Int64()
			if resp.StatusCode != http.StatusOK || resp.ProtoMajor != 2 {
				t.Errorf("%s by %s", resp.Status, resp.Proto)
			}
			resp.Body.Close()
		}
		transport.CloseIdleConnections()
		conn, failed := grpc.NewClient(byGRPC.Addr().String(), grpc.WithTransportCredentials(credentials.NewTLS(c)))
		if failed != nil {
			t.Fatal(failed)
		}
		defer conn.Close()
		if _, failed = ptraceotlp.NewGRPCClient(conn).Export(t.Context(), goodSpans(1, 0)); (failed == nil) != (err == nil) && !changing {
			t.Errorf("by HTTP %v, by gRPC %v", err, failed)
		}
		return serial, err
	}
	// until sends until the certificate is that of the number.
	until := func(want int64) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		for tick := time.NewTicker(50 * time.Millisecond); ; {
			serial, err := send(issue(t, 20, authority))
			if err != nil {
				t.Fatal(err)
			}
			if serial == want {
				return
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				t.Fatalf("the certificate is still number %d, want %d", serial, want)
			}
		}
	}

	until(10)
	changing = false
	for name, client := range map[string]*issued{"no certificate": nil, "of another authority": issue(t, 30, other)} {
		if _, err := send(client); err == nil {
			t.Errorf("a client with %s was admitted", name)
		}
	}
	changing = true
	second := issue(t, 11, authority)
	write(t, files.Cert, second.pem[0])
	write(t, files.Key, second.pem[1])
	until(11)
	write(t, files.Cert, []byte("nonsense"))
	until(11)
	third := issue(t, 12, authority)
	write(t, files.Key, third.pem[1])
	write(t, files.Cert, third.pem[0])
	until(12)
	write(t, files.ClientCA, append(other.pem[0], authority.pem[0]...))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for tick := time.NewTicker(50 * time.Millisecond); ; {
		if _, err := send(issue(t, 31, other)); err == nil {
			break
		}
		select {
		case <-tick.C:
			continue
		case <-ctx.Done():
			t.Fatal("the new authority is not known")
		}
	}
	if n := count(t, x); n != 1 {
		t.Errorf("%d activities", n)
	}
}

func TestTLSFiles(t *testing.T) {
	dir := t.TempDir()
	name := func(n string) string { return filepath.Join(dir, n) }
	one, two := issue(t, 1, nil), issue(t, 2, nil)
	write(t, name("cert"), one.pem[0])
	write(t, name("key"), one.pem[1])
	write(t, name("other"), two.pem[1])
	write(t, name("empty"), nil)
	for _, tt := range []struct {
		name  string
		files TLSFiles
		says  string
	}{
		{"no key", TLSFiles{Cert: name("cert")}, "needs both"},
		{"not there", TLSFiles{Cert: name("nowhere"), Key: name("key")}, "TLS certificate: open "},
		{"another's key", TLSFiles{Cert: name("cert"), Key: name("other")}, "other"},
		{"no authority", TLSFiles{Cert: name("cert"), Key: name("key"), ClientCA: name("empty")}, "empty holds no certificate"},
	} {
		if _, err := tt.files.Config(slog.Default()); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
