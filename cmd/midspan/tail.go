package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/websocket"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/midspan/midspan/api"
	"github.com/midspan/midspan/cmd/midspan/internal/plain"
)

const (
	// silence is how long a server may say nothing: it pings every 25 seconds.
	silence = time.Minute
	// maxMessage bounds one message; a batch has about 256 KiB.
	maxMessage = 64 << 20
	dialWait   = 15 * time.Second
	firstRetry = 250 * time.Millisecond
	lastRetry  = 10 * time.Second
)

type tailFlags struct {
	types, states, services, agents, threads, traces, parents []string
	query, minDuration, maxDuration, since                    string
	attrs                                                     []string
	stalled, snapshot, json, ids                              bool
	color, tokenFile                                          string
	count                                                     int
	every                                                     time.Duration
}

func newTail() *cobra.Command {
	var f tailFlags
	cmd := &cobra.Command{
		Use:   "tail [address]",
		Short: "Follow what a system does in the terminal",
		Long: `Follow the activities of a Midspan address, beginning with what is active. The
address is ` + api.DefaultListen + ` unless another is given, as host, :port, host:port or URL; a
part that is left out is that of the default. A lost connection is resumed where it
broke off; what the server no longer holds is told as a gap.

A line tells where an activity stands now. What begins and ends within a moment has
the line of its end alone, and of what goes on there is a line a second at most:
--every sets that time, and --every 0 or --json shows every change.

Filters select activities, and all of them must hold. Those that may be repeated, or
take several values separated by commas, select by any of their values. The words of
--q must all stand in the text; they are given in one --q.

A token is read from --token-file, or from the environment variable MIDSPAN_TOKEN.
Colours are used on a terminal only, and never when NO_COLOR is set.

` + exitCodes,
		Example: `  midspan tail
  midspan tail --state failed,cancelled --since 15m
  midspan tail :18081 --type decision --attr deployment.region=eu
  midspan tail --ids --q '"order 42" refund'
  midspan tail https://midspan.example.com --token-file token --json | jq .activity.name`,
		Args: oneAddress,
		RunE: func(cmd *cobra.Command, args []string) error {
			address := api.DefaultListen
			if len(args) == 1 {
				address = args[0]
			}
			return runTail(cmd.Context(), f, address, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&f.types, "type", nil, "only activities of this `type`, such as decision or api_call")
	flags.StringSliceVar(&f.states, "state", nil, "only activities in this `state`, such as failed or in_progress")
	flags.StringSliceVar(&f.services, "service", nil, "only activities of this `service`")
	flags.StringSliceVar(&f.agents, "agent", nil, "only activities of this `agent`")
	flags.StringSliceVar(&f.threads, "thread", nil, "only activities of the logical thread with this `id`")
	flags.StringSliceVar(&f.traces, "trace", nil, "only activities of this trace `id`")
	flags.StringSliceVar(&f.parents, "parent", nil, "only children of the activity with this `id`")
	flags.StringVar(&f.query, "q", "", "only activities with these words and \"phrases\" in their `text`")
	flags.StringArrayVar(&f.attrs, "attr", nil, "only activities with this attribute, as `KEY=VALUE`; may be repeated")
	flags.BoolVar(&f.stalled, "stalled", false, "only activities that stalled")
	flags.StringVar(&f.minDuration, "min-duration", "", "only activities that work for at least this `duration`")
	flags.StringVar(&f.maxDuration, "max-duration", "", "only activities that work for at most this `duration`")
	flags.StringVar(&f.since, "since", "", "begin with what happened since this `time` (RFC 3339) or for this duration (15m)")
	flags.BoolVar(&f.snapshot, "snapshot", true, "begin with what is active now")
	flags.BoolVar(&f.json, "json", false, "print every change as one line of JSON, as the API has it")
	flags.BoolVar(&f.ids, "ids", false, "print the span id, which is enough for /activity/activity/{activity_id}")
	flags.DurationVar(&f.every, "every", time.Second, "of an activity that goes on print one line in this `duration` at most; 0 prints every change")
	flags.StringVar(&f.color, "color", "auto", "`when` to use colours: auto, always or never")
	flags.StringVar(&f.tokenFile, "token-file", "", "send the token in this `file`")
	flags.IntVar(&f.count, "count", 0, "end after this many `lines`; 0 goes on")
	return cmd
}

// filter returns the parameters that select activities. The server judges
// their values.
func (f *tailFlags) filter() (url.Values, error) {
	v := url.Values{}
	for name, values := range map[string][]string{
		"type": f.types, "state": f.states, "service": f.services, "agent": f.agents,
		"thread": f.threads, "trace": f.traces, "parent": f.parents,
	} {
		if len(values) > 0 {
			v[name] = values
		}
	}
	for name, value := range map[string]string{
		"q": f.query, "min_duration": f.minDuration, "max_duration": f.maxDuration,
	} {
		if value != "" {
			v.Set(name, value)
		}
	}
	if f.stalled {
		v.Set("stalled", "true")
	}
	for _, attr := range f.attrs {
		key, value, ok := strings.Cut(attr, "=")
		if !ok || key == "" {
			return nil, usagef("--attr %q: write it as KEY=VALUE", attr)
		}
		v.Add("attr."+key, value)
	}
	return v, nil
}

// describe says what a filter selects, as the flags do.
func describe(filter url.Values) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(filter)) {
		values := strings.Join(filter[name], ",")
		if key, ok := strings.CutPrefix(name, "attr."); ok {
			name, values = "attr", key+"="+strings.Join(filter[name], " --attr "+key+"=")
		}
		b.WriteString(" --" + strings.ReplaceAll(name, "_", "-"))
		switch {
		case name == "stalled":
		case strings.ContainsAny(values, " \"") && name != "attr":
			b.WriteString(" '" + values + "'")
		default:
			b.WriteString(" " + values)
		}
	}
	return b.String()
}

// parseAddress returns the base of a server's URLs, without a slash at its end.
// What an address without a scheme leaves out is that of api.DefaultListen.
func parseAddress(s string) (*url.URL, error) {
	full, bare := s, !strings.Contains(s, "://")
	if bare {
		full = "http://" + s
	}
	u, err := url.Parse(full)
	if err == nil && bare && u.Host != "" {
		host, port, _ := net.SplitHostPort(api.DefaultListen)
		u.Host = net.JoinHostPort(cmp.Or(u.Hostname(), host), cmp.Or(u.Port(), port))
	}
	if err != nil || u.Hostname() == "" || u.RawQuery != "" || u.User != nil {
		return nil, usagef("address %q: write it as host, :port, host:port or https://host", s)
	}
	switch u.Scheme {
	case "ws":
		u.Scheme = "http"
	case "wss":
		u.Scheme = "https"
	case "http", "https":
	default:
		return nil, usagef("address %q: its scheme is not http or https", s)
	}
	u.Path, _ = strings.CutSuffix(strings.TrimRight(u.Path, "/"), "/monitor")
	return u, nil
}

func runTail(ctx context.Context, f tailFlags, address string, stdout, stderr io.Writer) error {
	base, err := parseAddress(address)
	if err != nil {
		return err
	}
	filter, err := f.filter()
	if err != nil {
		return err
	}
	if !slices.Contains([]string{"auto", "always", "never"}, f.color) {
		return usagef("--color is %q: give auto, always or never", f.color)
	}
	if f.count < 0 {
		return usagef("--count is %d: it must not be negative", f.count)
	}
	if f.every < 0 {
		return usagef("--every is %v: it must not be negative", f.every)
	}
	tokens, err := readTokens(f.tokenFile, api.ScopeRead)
	if err != nil {
		return err
	}
	t := &tailer{base: base, filter: filter, since: f.since, snapshot: f.snapshot && f.since == "", limit: f.count, stderr: stderr}
	if len(tokens) > 0 {
		t.token = tokens[0]
	}
	t.printer = newPrinter(stdout, f.json, f.color)
	t.printer.ids = f.ids
	if !f.json {
		t.calm.every = f.every
	}
	if err := t.run(ctx); !errors.Is(err, errEnough) && ctx.Err() == nil {
		return err
	}
	return nil
}

// unreachable says what to do about a server that can't be reached.
func unreachable(err error) error {
	if e, ok := errors.AsType[*net.DNSError](err); ok && e.IsNotFound {
		return usagef("there is no host %q: the argument is the server's address, such as %s; what to show is chosen by flags, such as --q %s", e.Name, api.DefaultListen, e.Name)
	}
	return fmt.Errorf("%w: is it running? Give its address as an argument", err)
}

// errEnough ends the tail after --count lines.
var errEnough = errors.New("enough")

// tailer follows one server.
type tailer struct {
	base     *url.URL
	filter   url.Values
	token    api.Token
	since    string
	snapshot bool
	limit    int
	lines    int
	printer  *printer
	calm     calm
	stderr   io.Writer
	said     bool // that it waits

	position string // LOG_ID:SEQ after which to resume; empty before the first
}

// message is one object of the stream.
type message struct {
	Event    string
	LogID    string `json:"log_id"`
	Seq      uint64
	At       time.Time
	From, To uint64
	Activity *shown
}

// fatal is an error that no further try can mend.
type fatal struct{ error }

func (f fatal) Unwrap() error { return f.error }

func (t *tailer) run(ctx context.Context) error {
	if t.since != "" {
		if err := t.history(ctx); err != nil {
			return err
		}
	}
	connected := false
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		streamed, err := t.follow(ctx)
		var never fatal
		switch {
		case ctx.Err() != nil || errors.Is(err, errEnough):
			return err
		case errors.As(err, &never):
			return never.error
		case !streamed && !connected:
			return unreachable(err)
		}
		if streamed {
			connected, wait = true, firstRetry
			fmt.Fprintf(t.stderr, "midspan: connection lost (%s); resuming\n", plain.Text(err.Error()))
		}
		// Half of it by chance, so that not all clients come back at once.
		pause := time.NewTimer(wait/2 + rand.N(wait/2))
		select {
		case <-ctx.Done():
			pause.Stop()
			return ctx.Err()
		case <-pause.C:
		}
	}
}

func (t *tailer) header() http.Header {
	h := http.Header{"User-Agent": {"midspan-tail"}}
	if t.token != "" {
		h.Set("Authorization", "Bearer "+string(t.token))
	}
	return h
}

// follow prints one connection's messages until it breaks. It reports whether
// the connection came about.
func (t *tailer) follow(ctx context.Context) (bool, error) {
	u := t.base.JoinPath("activity", "stream")
	u.Scheme = map[string]string{"http": "ws", "https": "wss"}[u.Scheme]
	query := url.Values{"batch": {"1"}}
	maps.Copy(query, t.filter)
	switch {
	case t.position != "":
		query.Set("after", t.position)
	case t.snapshot:
		query.Set("snapshot", "1")
	}
	u.RawQuery = query.Encode()

	dial := websocket.Dialer{Proxy: http.ProxyFromEnvironment, HandshakeTimeout: dialWait}
	conn, resp, err := dial.DialContext(ctx, u.String(), t.header())
	if err != nil {
		if resp == nil {
			return false, fmt.Errorf("connect to %s: %w", t.base, err)
		}
		defer resp.Body.Close()
		return false, refusal(resp)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	conn.SetReadLimit(maxMessage)
	answerPing := conn.PingHandler()
	conn.SetPingHandler(func(data string) error {
		if err := conn.SetReadDeadline(time.Now().Add(silence)); err != nil {
			return err
		}
		return answerPing(data)
	})
	left := make(chan struct{})
	defer close(left)
	for messages := read(conn, left); ; {
		select {
		case <-t.calm.due():
		case m := <-messages:
			if m.err != nil {
				return true, errors.Join(t.closed(m.err), t.release(true))
			}
			if err := t.takeAll(m.text); err != nil {
				return true, err
			}
		}
		if err := t.release(false); err != nil {
			return true, err
		}
	}
}

// received is a message of a connection, or its end.
type received struct {
	text []byte
	err  error
}

// read reads a connection's messages until it ends, or left is closed.
func read(conn *websocket.Conn, left <-chan struct{}) <-chan received {
	messages := make(chan received)
	go func() {
		for {
			var m received
			if m.err = conn.SetReadDeadline(time.Now().Add(silence)); m.err == nil {
				_, m.text, m.err = conn.ReadMessage()
			}
			select {
			case messages <- m:
			case <-left:
				return
			}
			if m.err != nil {
				return
			}
		}
	}()
	return messages
}

// release prints the lines that are due, or all that wait.
func (t *tailer) release(all bool) error {
	for _, m := range t.calm.take(time.Now(), all) {
		if err := t.print(nil, m); err != nil {
			return err
		}
	}
	if err := t.printer.flush(); err != nil {
		return fatal{err}
	}
	return nil
}

// wait says what it waits for when there is nothing to show.
func (t *tailer) wait() {
	if t.said || t.lines > 0 {
		return
	}
	t.said = true
	what := "activities"
	if len(t.filter) > 0 {
		what += " that match" + plain.Text(describe(t.filter))
	}
	fmt.Fprintf(t.stderr, "midspan: connected to %s, waiting for %s\n", t.base, what)
}

// closed explains a connection's end. A server that says from where to resume
// knows better than we do.
func (t *tailer) closed(err error) error {
	var end *websocket.CloseError
	if !errors.As(err, &end) {
		return err
	}
	if end.Code == websocket.ClosePolicyViolation {
		return fatal{fmt.Errorf("the server closed the stream: %s", end.Text)}
	}
	if end.Text == "" {
		return errors.New("the server closed the stream")
	}
	return fmt.Errorf("the server closed the stream: %s", end.Text)
}

// takeAll takes a message of the stream.
func (t *tailer) takeAll(text []byte) error {
	var batch []json.RawMessage
	if err := json.Unmarshal(text, &batch); err != nil {
		return fatal{fmt.Errorf("%s does not talk as Midspan does: %w", t.base, err)}
	}
	for _, raw := range batch {
		if err := t.take(raw); err != nil {
			return err
		}
	}
	return nil
}

// take prints one object of the stream and keeps the place it stands at.
func (t *tailer) take(raw json.RawMessage) error {
	var m message
	if err := json.Unmarshal(raw, &m); err != nil {
		return fatal{fmt.Errorf("%s does not talk as Midspan does: %w", t.base, err)}
	}
	switch m.Event {
	case "hello":
		if !t.snapshot || t.position != "" { // else only snapshot_end is a place to resume from
			t.reached(m.LogID, m.Seq)
			t.wait()
		}
		return nil
	case "snapshot_end":
		t.reached(m.LogID, m.Seq)
		t.wait()
		return nil
	case "gap":
		t.position, t.snapshot = "", true // what follows is a snapshot
		return errors.Join(t.release(true), t.print(raw, &m))
	}
	switch {
	case m.Activity == nil:
		return nil // an object of a later version
	case m.Event == "active":
		t.calm.shown(&m, time.Now())
		return t.print(raw, &m)
	case t.calm.every > 0:
		t.calm.add(&m, time.Now())
	default:
		if err := t.print(raw, &m); err != nil {
			return err
		}
	}
	t.reached(m.LogID, m.Seq)
	return nil
}

func (t *tailer) reached(logID string, seq uint64) {
	if logID != "" {
		t.position = logID + ":" + strconv.FormatUint(seq, 10)
	}
}

func (t *tailer) print(raw json.RawMessage, m *message) error {
	t.printer.print(raw, m)
	if t.lines++; t.limit > 0 && t.lines >= t.limit {
		if err := t.printer.flush(); err != nil {
			return fatal{err}
		}
		return errEnough
	}
	return nil
}

// history prints what happened since, from the list, and leaves the place from
// which the stream goes on: that of the first page, so nothing is missed.
func (t *tailer) history(ctx context.Context) error {
	client := &http.Client{Timeout: time.Minute}
	defer client.CloseIdleConnections()
	cursor, position := "", ""
	for {
		u := t.base.JoinPath("activity", "all")
		query := url.Values{"sort": {"planned_at"}, "limit": {"1000"}, "since": {t.since}}
		maps.Copy(query, t.filter)
		if cursor != "" {
			query.Set("cursor", cursor)
		}
		u.RawQuery = query.Encode()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
		if err != nil {
			return err
		}
		req.Header = t.header()
		page, err := fetchPage(client, req)
		if err != nil {
			return err
		}
		for _, raw := range page.Activities {
			var a shown
			if err := json.Unmarshal(raw, &a); err != nil {
				return fmt.Errorf("%s does not talk as Midspan does: %w", t.base, err)
			}
			event := append(append([]byte(`{"event":"active","activity":`), raw...), '}')
			if err := t.print(event, &message{Event: "active", At: a.LastSeenAt, Activity: &a}); err != nil {
				return err
			}
		}
		if err := t.printer.flush(); err != nil {
			return err
		}
		if position == "" {
			position = page.LogID + ":" + strconv.FormatUint(page.AsOf, 10)
		}
		if page.NextCursor == nil {
			t.position = position
			return nil
		}
		cursor = *page.NextCursor
	}
}

type listPage struct {
	Activities []json.RawMessage
	NextCursor *string `json:"next_cursor"`
	LogID      string  `json:"log_id"`
	AsOf       uint64  `json:"as_of_seq"`
}

func fetchPage(client *http.Client, req *http.Request) (*listPage, error) {
	resp, err := client.Do(req)
	if err != nil {
		return nil, unreachable(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, unwrapFatal(refusal(resp))
	}
	var page listPage
	if err := json.NewDecoder(resp.Body).Decode(&page); err != nil {
		return nil, fmt.Errorf("read list: %w", err)
	}
	return &page, nil
}

func unwrapFatal(err error) error {
	if f, ok := errors.AsType[fatal](err); ok {
		return f.error
	}
	return err
}

// refusal explains an answer that is not what was asked for.
func refusal(resp *http.Response) error {
	var p struct{ Detail, Parameter string }
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil || json.Unmarshal(body, &p) != nil || p.Detail == "" {
		p.Detail = resp.Status
	}
	switch code := resp.StatusCode; {
	case code == http.StatusUnauthorized && resp.Request.Header.Get("Authorization") != "":
		return fatal{errors.New("the server does not know this token: look at --token-file, or at " + tokenVariable)}
	case code == http.StatusUnauthorized:
		return fatal{errors.New("the server wants a token: give --token-file, or set " + tokenVariable)}
	case code == http.StatusBadRequest && p.Parameter != "":
		name := strings.ReplaceAll(p.Parameter, "_", "-")
		if key, ok := strings.CutPrefix(p.Parameter, "attr."); ok {
			name = "attr " + key
		}
		return fatal{usagef("--%s: %s", name, p.Detail)}
	case code == http.StatusTooManyRequests || code >= 500:
		return fmt.Errorf("the server refused for now: %s", p.Detail)
	case code == http.StatusNotFound:
		return fatal{fmt.Errorf("%s is no Midspan address: %s", resp.Request.URL, p.Detail)}
	}
	return fatal{fmt.Errorf("the server refused: %s", p.Detail)}
}

// terminal returns whether w is a terminal, and its width if it is.
func terminal(w io.Writer) (width int, ok bool) {
	f, isFile := w.(*os.File)
	if !isFile || !term.IsTerminal(int(f.Fd())) {
		return 0, false
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width < 40 {
		width = 0 // nothing to cut to
	}
	return width, true
}
