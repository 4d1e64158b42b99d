package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"
	"strconv"
	"time"

	"github.com/gorilla/websocket"

	"github.com/midspan/midspan/activity"
)

const (
	minSpeed, maxSpeed = 0.1, 1000
	// playChunk is how many events are looked through before the client gets what
	// there is of them.
	playChunk = 2048
	// clockEvery is how often a client is told where the replay is.
	clockEvery = 500 * time.Millisecond
	// maxLag is how long a write may take without the replay waiting for it.
	maxLag = time.Second
	// playWait is how long a client may take to take one write.
	playWait = time.Minute
)

// player is a stream over the past: it sends what the log took between two
// moments, in proportion to the time between.
type player struct {
	stream

	heard <-chan []byte
	to    activity.Moment
	speed float64
	still bool          // paused
	at    activity.Time // where the replay was
	since time.Time     // when it was there

	next func() (activity.Change, error, bool)
	stop func()
	due  *activity.Change // the next one; nil when there is none

	clocked time.Time // when the client was told where it is
}

// replayParams are the parameters of a replay beside its filter.
type replayParams struct {
	filter   activity.Filter
	from, to activity.Time
	speed    float64
	batch    bool
}

func parseReplay(p *params) (replayParams, error) {
	q := replayParams{from: p.moment("from"), to: p.moment("to"), speed: 1, filter: p.filter(), batch: p.flag("batch")}
	now := activity.TimeOf(p.now)
	if !p.values.Has("to") {
		q.to = now
	}
	if v, ok := p.one("speed"); ok {
		speed, err := strconv.ParseFloat(v, 64)
		if err != nil || !goodSpeed(speed) {
			p.fail(badSpeed(v))
		}
		q.speed = speed
	}
	switch {
	case !p.values.Has("from"):
		p.fail(invalid("from", "is missing: give a time as in 2026-11-22T10:00:00Z or a duration back from now as in 15m"))
	case q.from > now:
		p.fail(invalid("from", "lies in the future"))
	case q.to > now:
		p.fail(invalid("to", "lies in the future: without it a replay ends now"))
	case q.from > q.to:
		p.fail(invalid("from", "is later than to"))
	}
	return q, p.finish()
}

func goodSpeed(v float64) bool { return v >= minSpeed && v <= maxSpeed }

func badSpeed(v string) *problem {
	return invalid("speed", "%q is not a number from %v to %v", clip(v), minSpeed, maxSpeed)
}

// replay answers with a WebSocket that tells the past again, until its end, or
// until the client leaves, signs out, or the server shuts down.
func (a *API) replay(w http.ResponseWriter, r *http.Request) error {
	if a.cfg.Moments == nil {
		return errNoPast
	}
	q, err := parseReplay(a.params(r))
	if err != nil {
		return err
	}
	if r.Header.Get("Upgrade") == "" && !websocket.IsWebSocketUpgrade(r) {
		w.Header().Set("Upgrade", "websocket")
		return &problem{status: http.StatusUpgradeRequired, detail: "a replay is a WebSocket: open it as one"}
	}
	from, err := a.moment("from", q.from)
	if err != nil {
		return err
	}
	to, err := a.moment("to", q.to)
	if err != nil {
		return err
	}
	select {
	case a.replays <- struct{}{}:
		defer func() { <-a.replays }()
	default:
		a.hits.replays.Add(1)
		return &problem{status: http.StatusServiceUnavailable, retryAfter: 5, detail: strconv.Itoa(cap(a.replays)) + " replays are under way, and no more are allowed"}
	}
	if err := a.enter(); err != nil {
		return err
	}
	defer a.leave()
	heard := make(chan []byte)
	socket, err := upgradeSocket(w, r, heard)
	if socket == nil {
		return err
	}
	socket.patience = playWait
	defer a.track(socket)()

	p := &player{heard: heard, to: to, speed: q.speed}
	p.stream = stream{
		api: a, wire: &waiting{socket, p}, filter: q.filter, all: selectsAll(&q.filter), batch: q.batch,
		position: activity.Position{LogID: a.cfg.Reader.Head().LogID, Seq: from.Seq}, now: func() activity.Time { return p.at },
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	why := signedOut
	if grant, ok := a.sessions.admitted(r); ok {
		err = p.say(p.appendHello(nil), activity.Position{})
		if err == nil {
			err = p.seek(ctx, from)
		}
		if err == nil {
			why, err = p.play(ctx, grant)
		}
	}
	if p.stop != nil {
		p.stop()
	}
	if err != nil {
		why = p.endingOf(err)
	}
	socket.from = p.at.Time().UTC().Format(time.RFC3339Nano)
	socket.close(why, p.position)
	return nil
}

// seek goes on at a moment, with what was active at it.
func (p *player) seek(ctx context.Context, to activity.Moment) error {
	if p.stop != nil {
		p.stop()
	}
	p.at, p.position.Seq = to.Time, to.Seq
	if err := p.snapshot(&to); err != nil {
		return err
	}
	p.next, p.stop = iter.Pull2(p.api.cfg.Moments.Changes(ctx, to.Seq, p.to.Seq))
	p.due = nil
	if err := p.load(); err != nil {
		return err
	}
	p.since = time.Now() // to read it took time that is not of the replay
	return p.tellClock()
}

// load reads the next event.
func (p *player) load() error {
	c, err, ok := p.next()
	if err != nil {
		return err
	}
	if p.due = nil; ok {
		// Of the stretch of time that its end lies in all is told.
		c.ReceivedAt = min(c.ReceivedAt, p.to.Time)
		p.due = &c
	}
	return nil
}

// advance moves the replay's clock to now.
func (p *player) advance(now time.Time) {
	if p.still {
		return
	}
	passed := float64(now.Sub(p.since)) * p.speed
	if passed < float64(p.to.Time-p.at) {
		p.at += activity.Time(passed)
	} else {
		p.at = p.to.Time
	}
	p.since = now
}

// play sends what is due, and waits for what is not and for what the client says.
func (p *player) play(ctx context.Context, grant *session) (ending, error) {
	keepalive := time.NewTicker(pingEvery)
	defer keepalive.Stop()
	var revoked <-chan struct{}
	if grant != nil {
		revoked = grant.done
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-p.wire.gone():
			return clientGone, nil
		case <-p.api.closing:
			return goingAway, nil
		case <-revoked:
			return signedOut, nil
		case <-keepalive.C:
			if grant != nil && !p.api.sessions.touch(grant) {
				return signedOut, nil
			}
			if err := p.write(p.wire.keepalive(nil, p.position)); err != nil {
				return failed, err
			}
			continue
		case payload := <-p.wire.replies():
			if err := p.write(p.wire.reply(nil, payload)); err != nil {
				return failed, err
			}
			continue
		case message := <-p.heard:
			p.advance(time.Now())
			if err := p.obey(ctx, message); err != nil {
				return p.forgotten(err)
			}
		case <-timer.C:
		}
		begun := time.Now()
		if err := p.sendDue(begun); err != nil {
			return p.forgotten(err)
		}
		if p.due == nil && p.at >= p.to.Time && !p.still {
			return finished, p.end("end")
		}
		now := time.Now()
		if !p.still && now.Sub(p.clocked) >= clockEvery {
			if err := p.tellClock(); err != nil {
				return failed, err
			}
		}
		// Half of the time at most is spent at work: others need the processor, too.
		timer.Reset(max(p.wait(now), tick, now.Sub(begun)))
	}
}

// wait returns how long there is nothing to do.
func (p *player) wait(now time.Time) time.Duration {
	if p.still {
		return time.Hour
	}
	next := p.to.Time
	if p.due != nil {
		next = p.due.ReceivedAt
	}
	rest := float64(next-p.at)/p.speed - float64(now.Sub(p.since))
	return time.Duration(min(rest, float64(clockEvery)))
}

// sendDue sends what the replay's clock has come to, or a part of it.
func (p *player) sendDue(now time.Time) error {
	p.advance(now)
	entries := p.entries[:0]
	for p.due != nil && p.due.ReceivedAt <= p.at && !p.still && len(entries) < playChunk {
		entries = append(entries, &entry{Change: *p.due})
		if err := p.load(); err != nil {
			return err
		}
	}
	err := p.send(entries)
	clear(entries)
	p.entries = entries[:0]
	// What the client or this server can't keep up with takes longer.
	if p.due != nil {
		p.at = min(p.at, p.due.ReceivedAt)
	}
	return err
}

// waiting is a replay's connection: while the client does not take what is
// written, the replay stands still.
type waiting struct {
	wire
	p *player
}

func (w *waiting) write(b []byte) error {
	begun := time.Now()
	err := w.wire.write(b)
	if took := time.Since(begun); took > maxLag {
		w.p.since = w.p.since.Add(took)
	}
	return err
}

// forgotten ends a replay of what is gone meanwhile; any other error is passed on.
func (p *player) forgotten(err error) (ending, error) {
	if errors.Is(err, activity.ErrForgotten) {
		return finished, p.end("forgotten")
	}
	return failed, err
}

// control is what a client may say.
type control struct {
	Action string          `json:"action"`
	Time   *string         `json:"time"`
	Speed  json.RawMessage `json:"speed"`
}

// parseControl reads a message; it returns what is wrong with it.
func parseControl(message []byte, now time.Time) (action string, at activity.Time, speed float64, err error) {
	var c control
	d := json.NewDecoder(bytes.NewReader(message))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return "", 0, 0, invalid("", "the message is not an object with action and, as that needs, time or speed: %s", clip(err.Error()))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return "", 0, 0, invalid("", "there is more than one object in the message")
	}
	if c.Time != nil && c.Action != "seek" {
		return "", 0, 0, invalid("time", "is not for this action")
	}
	if c.Speed != nil && c.Action != "speed" {
		return "", 0, 0, invalid("speed", "is not for this action")
	}
	switch c.Action {
	case "pause", "resume":
	case "seek":
		if c.Time == nil {
			return "", 0, 0, invalid("time", "is missing: it says where to")
		}
		at, err = parseMoment("time", *c.Time, now)
	case "speed":
		if json.Unmarshal(c.Speed, &speed) != nil || !goodSpeed(speed) {
			err = badSpeed(string(c.Speed))
		}
	default:
		err = invalid("action", "%q is not one of pause, resume, seek, speed", clip(c.Action))
	}
	return c.Action, at, speed, err
}

// obey does what the client says. What is wrong with that the client is told.
func (p *player) obey(ctx context.Context, message []byte) error {
	action, at, speed, err := parseControl(message, time.Now())
	var where activity.Moment
	if err == nil && action == "seek" {
		if at > p.to.Time {
			err = invalid("time", "lies behind the end of the replay")
		} else {
			where, err = p.api.moment("time", at)
		}
	}
	if wrong, ok := errors.AsType[*problem](err); ok {
		return p.say(wrong.appendEvent(nil), p.position)
	}
	if err != nil {
		return err
	}
	switch action {
	case "pause":
		p.still = true
	case "resume":
		p.still, p.since = false, time.Now()
	case "speed":
		p.speed = speed
	case "seek":
		return p.seek(ctx, where)
	}
	return p.tellClock()
}

// appendEvent appends a problem as a message of a replay.
func (p *problem) appendEvent(b []byte) []byte {
	b = append(b, `{"event":"error","parameter":`...)
	if p.parameter == "" {
		b = append(b, "null"...)
	} else {
		b = activity.AppendString(b, p.parameter)
	}
	b = append(b, `,"detail":`...)
	b = activity.AppendString(b, p.detail)
	return append(b, '}')
}

// tellClock tells the client where the replay is.
func (p *player) tellClock() error {
	p.clocked = time.Now()
	b := p.appendPlace([]byte(`{"event":"clock",`))
	b = append(b, `,"until":`...)
	b = p.to.Time.AppendJSON(b)
	b = append(b, `,"speed":`...)
	b = activity.AppendFloat(b, p.speed)
	b = append(b, `,"paused":`...)
	b = strconv.AppendBool(b, p.still)
	return p.say(append(b, '}'), p.position)
}

// end tells that nothing more comes, and why.
func (p *player) end(reason string) error {
	b := p.appendPlace([]byte(`{"event":"end",`))
	b = append(b, `,"reason":"`...)
	b = append(b, reason...)
	return p.say(append(b, `"}`...), p.position)
}

func (p *player) appendPlace(b []byte) []byte {
	b = appendLogSeq(b, p.position.LogID, p.position.Seq)
	b = append(b, `,"time":`...)
	return p.at.AppendJSON(b)
}
