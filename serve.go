package midspan

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/midspan/midspan/api"
)

// drainTimeout is how long answers under way have when serving ends.
const drainTimeout = 5 * time.Second

var errStopped = errors.New("midspan: has been shut down")

// ListenAndServe serves [Midspan.Handler] on Config.Listen until ctx is done or
// [Midspan.Shutdown] is called, and returns nil then. All streams end with it.
// The dashboard's address is logged.
func (m *Midspan) ListenAndServe(ctx context.Context) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", m.cfg.Listen)
	if err != nil {
		return fmt.Errorf("midspan: listen: %w: choose another Config.Listen, or port 0 for any free one", err)
	}
	if !m.cfg.NoDashboard {
		m.cfg.Logger.Info("midspan: watch it at " + m.monitorURL(l.Addr()))
	}
	return m.Serve(ctx, l)
}

// monitorURL returns the dashboard's address for a browser on this machine.
func (m *Midspan) monitorURL(bound net.Addr) string {
	authority := bound.String()
	host, _, errHost := net.SplitHostPort(m.cfg.Listen)
	_, port, errPort := net.SplitHostPort(authority)
	if errHost == nil && errPort == nil {
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			host = "localhost"
		}
		authority = net.JoinHostPort(host, port)
	}
	return "http://" + authority + "/monitor/"
}

// Serve does what [Midspan.ListenAndServe] does, on a listener that it closes.
// Its address should be that of Config.Listen, since requests must name it.
func (m *Midspan) Serve(ctx context.Context, l net.Listener) error {
	server := api.NewServer(m.api, m.cfg.Logger)
	m.mu.Lock()
	if m.stopped {
		m.mu.Unlock()
		return errors.Join(errStopped, l.Close())
	}
	m.servers[server] = struct{}{}
	m.mu.Unlock()

	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	select {
	case err := <-failed:
		m.mu.Lock()
		delete(m.servers, server)
		m.mu.Unlock()
		if !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("midspan: serve: %w", err)
		}
	case <-ctx.Done():
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
		defer cancel()
		// Who did not take an answer in time is cut off; that is no error.
		_ = m.stopServing(drain)
		if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("midspan: serve: %w", err)
		}
	}
	return nil
}

// stopServing ends the streams and every server.
func (m *Midspan) stopServing(ctx context.Context) error {
	m.mu.Lock()
	m.stopped = true
	servers := make([]*http.Server, 0, len(m.servers))
	for s := range m.servers {
		servers = append(servers, s)
	}
	m.mu.Unlock()
	// Streams first: a server waits for them.
	err := m.api.Shutdown(ctx)
	for _, s := range servers {
		if stop := s.Shutdown(ctx); stop != nil {
			err = errors.Join(err, stop, s.Close())
		}
	}
	return err
}
