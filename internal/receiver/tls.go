package receiver

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// TLSFiles names files in PEM from which a server speaks TLS. They are read
// again when they change: what renews them need not restart the bridge.
type TLSFiles struct {
	Cert, Key string // of the server
	// ClientCA admits only clients with a certificate that one of its authorities
	// has signed. Empty admits every client.
	ClientCA string
}

// reloadEvery is how long a change of the files may go unnoticed.
const reloadEvery = time.Second

// Config returns what a server takes, or an error that says which file is wrong.
// Files that go wrong later are told to the logger; the last good ones serve on.
func (f TLSFiles) Config(logger *slog.Logger) (*tls.Config, error) {
	if f.Cert == "" || f.Key == "" {
		return nil, errors.New("TLS needs both a certificate and a key file")
	}
	t := &tlsFiles{files: f, logger: logger}
	content, err := t.read()
	if err != nil {
		return nil, err
	}
	if err := t.load(content); err != nil {
		return nil, err
	}
	t.looked = time.Now()
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: t.current.NextProtos,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return t.config(), nil },
	}, nil
}

type tlsFiles struct {
	files  TLSFiles
	logger *slog.Logger

	mu      sync.Mutex // guards everything below
	looked  time.Time
	content [3][]byte
	failed  string // what was told last
	current *tls.Config
}

func (t *tlsFiles) config() *tls.Config {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Since(t.looked) < reloadEvery {
		return t.current
	}
	t.looked = time.Now()
	content, err := t.read()
	if err == nil {
		if bytes.Equal(content[0], t.content[0]) && bytes.Equal(content[1], t.content[1]) && bytes.Equal(content[2], t.content[2]) {
			t.failed = ""
			return t.current
		}
		err = t.load(content)
	}
	switch {
	case err == nil:
		t.failed = ""
		t.logger.Info("TLS files were read again", "cert", t.files.Cert)
	case err.Error() != t.failed: // once, not at each connection
		t.failed = err.Error()
		t.logger.Warn("TLS files changed and cannot be used: the last good ones serve on", "error", err)
	}
	return t.current
}

func (t *tlsFiles) read() (content [3][]byte, err error) {
	for i, file := range [3]struct{ what, name string }{
		{"certificate", t.files.Cert}, {"key", t.files.Key}, {"client CA", t.files.ClientCA},
	} {
		if file.name == "" {
			continue
		}
		if content[i], err = os.ReadFile(file.name); err != nil {
			return content, fmt.Errorf("TLS %s: %w", file.what, err)
		}
	}
	return content, nil
}

// load makes the content the current one, or leaves it. t.mu is held, or nobody
// else has t.
func (t *tlsFiles) load(content [3][]byte) error {
	pair, err := tls.X509KeyPair(content[0], content[1])
	if err != nil {
		return fmt.Errorf("%s and %s: %w", t.files.Cert, t.files.Key, err)
	}
	c := &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, Certificates: []tls.Certificate{pair},
	}
	if t.files.ClientCA != "" {
		c.ClientCAs, c.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
		if !c.ClientCAs.AppendCertsFromPEM(content[2]) {
			return fmt.Errorf("%s holds no certificate", t.files.ClientCA)
		}
	}
	t.content, t.current = content, c
	return nil
}

// Serve has a server answer on a listener, by TLS if it has a configuration for
// it.
func Serve(s *http.Server, l net.Listener) error {
	if s.TLSConfig != nil {
		return s.ServeTLS(l, "", "")
	}
	return s.Serve(l)
}
