package bridge

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/midspan/midspan/api"
	"github.com/midspan/midspan/internal/receiver"
)

// writePair writes a new certificate for 127.0.0.1, with its key.
func writePair(t *testing.T, files receiver.TLSFiles, serial int64, roots *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	roots.AppendCertsFromPEM(cert)
	for name, content := range map[string][]byte{files.Cert: cert, files.Key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// One pair of files serves the API, its streams and both addresses of OTLP by
// TLS; all take up a renewed one without a restart.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	files := receiver.TLSFiles{Cert: filepath.Join(dir, "cert"), Key: filepath.Join(dir, "key")}
	roots := x509.NewCertPool()
	writePair(t, files, 1, roots)
	const token = "0123456789abcdef"
	keys, err := api.NewKeyring(api.Grant{Name: "test", Token: token, Scope: api.ScopeAdmin})
	if err != nil {
		t.Fatal(err)
	}
	b := serve(t, Config{TLS: files, OTLPTLS: files, Keys: keys})

	client := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	transport := &http.Transport{TLSClientConfig: client.Clone(), ForceAttemptHTTP2: true, DisableKeepAlives: true}
	ask := func(method, url, body string, header ...string) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := (&http.Client{Transport: transport}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}
	at := "https://" + b.Addr().String()
	bearer := []string{"Authorization", "Bearer " + token}

	cookies := ask(http.MethodPost, at+"/session", `{"token":"`+token+`"}`).Cookies()
	if len(cookies) != 1 || !cookies[0].Secure || !strings.HasPrefix(cookies[0].Name, "__Host-midspan-") {
		t.Fatalf("cookies %v", cookies)
	}
	events := ask(http.MethodGet, at+"/activity/stream?hello=1", "", "Cookie", cookies[0].String())
	dialer := websocket.Dialer{TLSClientConfig: client}
	stream, _, err := dialer.DialContext(t.Context(), "wss://"+b.Addr().String()+"/activity/stream",
		http.Header{"Origin": {at}, "Cookie": {cookies[0].Name + "=" + cookies[0].Value}})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()

	sent := ask(http.MethodPost, "https://"+b.HTTPAddr().String()+"/v1/traces", spans("", span(trace, 1, 0, 1, 2)), bearer...)
	if sent.StatusCode != http.StatusOK {
		t.Errorf("OTLP by HTTP: %s", sent.Status)
	}
	conn, err := grpc.NewClient(b.GRPCAddr().String(), grpc.WithTransportCredentials(credentials.NewTLS(client)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := ptraceotlp.NewGRPCClient(conn).Export(t.Context(), ptraceotlp.NewExportRequest()); err == nil || !strings.Contains(err.Error(), "bears no valid token") {
		t.Errorf("OTLP by gRPC without a token: %v", err)
	}

	if _, m, err := stream.ReadMessage(); err != nil || !strings.Contains(string(m), `"name":"step 1"`) {
		t.Errorf("by WebSocket: %s %v", m, err)
	}
	told := ""
	for part := make([]byte, 4096); !strings.Contains(told, `"name":"step 1"`); {
		n, err := events.Body.Read(part)
		if told += string(part[:n]); err != nil {
			t.Fatalf("by server-sent events: %s %v", told, err)
		}
	}
	list := ask(http.MethodGet, at+"/activity/all", "", bearer...)
	body, err := io.ReadAll(list.Body)
	if err != nil || !strings.Contains(string(body), `"name":"step 1"`) {
		t.Errorf("%s %v", body, err)
	}

	writePair(t, files, 2, roots)
	eventually(t, time.Minute, func() string {
		for name, url := range map[string]string{"API": at + "/healthz", "OTLP": "https://" + b.HTTPAddr().String() + "/"} {
			if serial := ask(http.MethodGet, url, "").TLS.PeerCertificates[0].SerialNumber.Int64(); serial != 2 {
				return fmt.Sprintf("%s has certificate %d still", name, serial)
			}
		}
		return ""
	})
	if resp, err := b.client.Get("http://" + b.Addr().String() + "/healthz"); err != nil || resp.StatusCode != http.StatusBadRequest {
		t.Errorf("plain text: %v %v", resp, err)
	} else {
		resp.Body.Close()
	}
}

// A header is taken up to the 32 KiB that docs/api.md says, and the 4 KiB that
// net/http adds.
func TestHeaderLimit(t *testing.T) {
	b := serve(t, Config{})
	for _, tt := range []struct{ size, want int }{{31 << 10, http.StatusOK}, {37 << 10, http.StatusRequestHeaderFieldsTooLarge}} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+b.Addr().String()+"/healthz", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Long", strings.Repeat("x", tt.size))
		resp, err := b.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != tt.want {
			t.Errorf("a header of %d bytes: %s, want %d", tt.size, resp.Status, tt.want)
		}
	}
}
