// Package run starts the programs that the end-to-end tests drive, and waits for them.
package run

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"time"
)

// A Process is a program that was started. Safe for concurrent use.
type Process struct {
	// Done is closed when the program has ended.
	Done <-chan struct{}

	command *exec.Cmd
	output  *output
	err     error // set before Done is closed
}

// Start starts a program, which Stop must end.
func Start(command *exec.Cmd) (*Process, error) {
	done := make(chan struct{})
	p := &Process{Done: done, command: command, output: &output{}}
	p.command.Stdout, p.command.Stderr = p.output, p.output
	if err := p.command.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = p.command.Wait()
		close(done)
	}()
	return p, nil
}

// Stop interrupts the program and returns how it ended. What has not ended after 15 seconds is killed.
func (p *Process) Stop() error {
	if err := p.command.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	timeout := time.NewTimer(15 * time.Second)
	defer timeout.Stop()
	select {
	case <-p.Done:
		return p.err
	case <-timeout.C:
		err := errors.Join(errors.New("did not end within 15 s of an interrupt"), p.command.Process.Kill())
		<-p.Done
		return err
	}
}

// Wait returns how the program ended once it has.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.Done:
		return p.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// PID returns the program's process id.
func (p *Process) PID() int { return p.command.Process.Pid }

// Output returns what the program has written so far.
func (p *Process) Output() string { return p.output.String() }

// Ready waits until the address answers 200, for as long as the program runs.
func (p *Process) Ready(ctx context.Context, url string) error {
	return Poll(ctx, 50*time.Millisecond, func() error {
		select {
		case <-p.Done:
			return Final{Err: fmt.Errorf("%s ended: %w\n%s", p.command.Path, p.err, p.Output())}
		default:
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return Final{Err: err}
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			return err
		}
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("GET %s: %s", url, response.Status)
		}
		return nil
	})
}

// A Demo is a running `midspan demo`.
type Demo struct {
	*Process
	// URL is its address without a path, such as http://127.0.0.1:18080.
	URL string
}

// StartDemo starts command, which is `midspan demo` without its address, and waits until it is ready.
func StartDemo(ctx context.Context, command *exec.Cmd, address string) (*Demo, error) {
	// Another program there would answer in the demo's place.
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if err := listener.Close(); err != nil {
		return nil, err
	}
	command.Args = append(command.Args, "--listen", address)
	p, err := Start(command)
	if err != nil {
		return nil, err
	}
	demo := &Demo{Process: p, URL: "http://" + address}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := p.Ready(ctx, demo.URL+"/readyz"); err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	return demo, nil
}

// FreeAddress returns a loopback address with a port that nothing listens on.
func FreeAddress(ctx context.Context) (string, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

// Final wraps an error that no further try can mend.
type Final struct{ Err error }

func (f Final) Error() string { return f.Err.Error() }

// Unwrap returns Err.
func (f Final) Unwrap() error { return f.Err }

// Poll calls try until it returns nil, a Final error or ctx ends; then the last error is returned.
func Poll(ctx context.Context, every time.Duration, try func() error) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		err := try()
		if _, final := errors.AsType[Final](err); err == nil || final {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-ticker.C:
		}
	}
}

type output struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
