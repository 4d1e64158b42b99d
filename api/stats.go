package api

import (
	"context"
	"math"
	"net/http"
	"time"

	"github.com/midspan/midspan/activity"
)

// The answer of /activity/stats.
type (
	statsAnswer struct {
		LogID      string                   `json:"log_id"`
		AsOfSeq    uint64                   `json:"as_of_seq"`
		Incomplete bool                     `json:"incomplete,omitempty"`
		Now        activity.Time            `json:"now"`
		Since      activity.Time            `json:"since"`
		Total      int64                    `json:"total"`
		Active     int64                    `json:"active"`
		Planned    int64                    `json:"planned"`
		InProgress int64                    `json:"in_progress"`
		Stalled    int64                    `json:"stalled"`
		ByState    map[activity.State]int64 `json:"by_state"`
		ByType     map[activity.Type]int64  `json:"by_type"`
		ByService  map[string]int64         `json:"by_service"`
		Windows    map[string]windowAnswer  `json:"windows"`
		Series     seriesAnswer             `json:"series"`
		Histogram  []bucketAnswer           `json:"histogram"`
		Held       heldAnswer               `json:"held"`
		Evicted    int64                    `json:"evicted"`
		NotIndexed int64                    `json:"not_indexed"`
		Ignored    int64                    `json:"ignored"`
		Refused    int64                    `json:"refused"`
		Leaked     int64                    `json:"leaked"`
		Export     exportAnswer             `json:"export"`
		Processes  []processAnswer          `json:"processes"`
		Bridge     *bridgeAnswer            `json:"bridge"`
		Forwarding []forwardAnswer          `json:"forwarding"`
	}
	windowAnswer struct {
		Started     int64           `json:"started"`
		Finished    int64           `json:"finished"`
		Completed   int64           `json:"completed"`
		Failed      int64           `json:"failed"`
		Cancelled   int64           `json:"cancelled"`
		Lost        int64           `json:"lost"`
		SuccessRate *float64        `json:"success_rate"`
		PerSecond   float64         `json:"per_second"`
		Duration    quantilesAnswer `json:"duration_ms"`
		Wait        quantilesAnswer `json:"wait_ms"`
	}
	quantilesAnswer struct {
		Average *float64 `json:"average"`
		P50     *float64 `json:"p50"`
		P95     *float64 `json:"p95"`
		P99     *float64 `json:"p99"`
	}
	seriesAnswer struct {
		StepMs   int64         `json:"step_ms"`
		End      activity.Time `json:"end"`
		Started  [60]int64     `json:"started"`
		Finished [60]int64     `json:"finished"`
		Failed   [60]int64     `json:"failed"`
	}
	bucketAnswer struct {
		LeMs  float64 `json:"le_ms"`
		Count int64   `json:"count"`
	}
	heldAnswer struct {
		Finished    int64         `json:"finished"`
		InFlight    int64         `json:"in_flight"`
		Bytes       int64         `json:"bytes"`
		MaxFinished int64         `json:"max_finished"`
		MaxInFlight int64         `json:"max_in_flight"`
		MaxBytes    int64         `json:"max_bytes"`
		MaxAgeMs    *float64      `json:"max_age_ms"`
		Oldest      activity.Time `json:"oldest"`
	}
	processAnswer struct {
		Service     *string       `json:"service"`
		Instance    *string       `json:"instance"`
		Lease       string        `json:"lease"`
		RenewedAt   activity.Time `json:"renewed_at"`
		ClockOffset *float64      `json:"clock_offset_ms"`
	}
	exportAnswer struct {
		Endpoint *string `json:"endpoint"`
		Dropped  int64   `json:"dropped"`
	}
	bridgeAnswer struct {
		Endpoint  string `json:"endpoint"`
		Connected bool   `json:"connected"`
		Dropped   int64  `json:"dropped"`
	}
	forwardAnswer struct {
		Target     string  `json:"target"`
		LagSeconds float64 `json:"lag_seconds"`
		LagSpans   uint64  `json:"lag_spans"`
		Sent       int64   `json:"sent"`
		Rejected   int64   `json:"rejected"`
		Dropped    int64   `json:"dropped"`
		Retries    int64   `json:"retries"`
		State      string  `json:"state"`
	}
)

// maxProcesses bounds the processes that one answer tells of.
const maxProcesses = 100

func (a *API) stats(w http.ResponseWriter, r *http.Request) error {
	p := a.params(r)
	f := p.filter()
	if err := p.finish(); err != nil {
		return err
	}
	st, err := a.statsOf(r.Context(), &f)
	if err != nil {
		return err
	}
	return answerJSON(w, a.statsAnswer(st))
}

func (a *API) statsAnswer(st *activity.Stats) *statsAnswer {
	export := a.cfg.Export()
	s := &statsAnswer{
		LogID:      st.AsOf.LogID,
		AsOfSeq:    st.AsOf.Seq,
		Incomplete: st.Incomplete,
		Now:        st.Now,
		Since:      st.Since,
		Total:      st.Total,
		Active:     st.Planned + st.InProgress,
		Planned:    st.Planned,
		InProgress: st.InProgress,
		Stalled:    st.Stalled,
		ByState:    make(map[activity.State]int64, len(activity.States)),
		ByType:     st.ByType,
		ByService:  st.ByService,
		Windows: map[string]windowAnswer{
			"all": windowOf(&st.All),
			"1m":  windowOf(&st.Minute),
			"5m":  windowOf(&st.FiveMinutes),
			"1h":  windowOf(&st.Hour),
		},
		Series:    seriesAnswer{StepMs: 1000, End: st.SecondsEnd},
		Histogram: make([]bucketAnswer, 0, len(st.Histogram)),
		Held: heldAnswer{
			Finished:    st.Held.Finished,
			InFlight:    st.Held.InFlight,
			Bytes:       st.Held.Bytes,
			MaxFinished: st.Held.MaxFinished,
			MaxInFlight: st.Held.MaxInFlight,
			MaxBytes:    st.Held.MaxBytes,
			Oldest:      st.Held.Oldest,
		},
		Evicted:    st.Evicted,
		NotIndexed: st.NotIndexed,
		Ignored:    st.Ignored + a.cfg.Ignored(),
		Refused:    st.Refused + a.refused.Load(),
		Leaked:     st.Leaked,
		Export:     exportAnswer{orNull(export.Endpoint), st.ExportDrops + export.Dropped},
	}
	if st.Range != nil {
		s.Windows["range"] = windowOf(st.Range)
	}
	s.Processes = make([]processAnswer, 0, maxProcesses)
	for _, p := range a.cfg.Processes() {
		if len(s.Processes) == maxProcesses {
			break
		}
		answer := processAnswer{Service: orNull(p.Service), Instance: orNull(p.Instance), Lease: p.Lease.String(), RenewedAt: p.RenewedAt}
		if p.HasClock {
			offset := millis(p.ClockOffset)
			answer.ClockOffset = &offset
		}
		s.Processes = append(s.Processes, answer)
	}
	if bridge := a.cfg.Bridge(); bridge.Endpoint != "" {
		s.Bridge = &bridgeAnswer{bridge.Endpoint, bridge.Connected, bridge.Dropped}
	}
	s.Forwarding = []forwardAnswer{}
	for _, f := range a.cfg.Forwarding() {
		state := "ok"
		if f.Away {
			state = "away"
		}
		s.Forwarding = append(s.Forwarding, forwardAnswer{f.Target, f.Lag.Seconds(), f.LagEvents, f.Sent, f.Rejected, f.Dropped, f.Retries, state})
	}
	for _, state := range activity.States {
		s.ByState[state] = st.ByState[state]
	}
	if s.ByType == nil {
		s.ByType = map[activity.Type]int64{}
	}
	if s.ByService == nil {
		s.ByService = map[string]int64{}
	}
	for i, sec := range st.Seconds {
		s.Series.Started[i], s.Series.Finished[i], s.Series.Failed[i] = sec.Started, sec.Finished, sec.Failed
	}
	for _, bucket := range st.Histogram {
		s.Histogram = append(s.Histogram, bucketAnswer{millis(bucket.UpTo), bucket.Count})
	}
	if st.Held.MaxAge > 0 {
		age := millis(st.Held.MaxAge)
		s.Held.MaxAgeMs = &age
	}
	return s
}

func windowOf(w *activity.Window) windowAnswer {
	out := windowAnswer{
		Started: w.Started, Finished: w.Finished,
		Completed: w.Completed, Failed: w.Failed, Cancelled: w.Cancelled, Lost: w.Lost,
		PerSecond: finite(w.PerSecond),
		Duration:  quantilesOf(&w.Duration), Wait: quantilesOf(&w.Wait),
	}
	if rate, ok := w.SuccessRate(); ok {
		out.SuccessRate = &rate
	}
	return out
}

func quantilesOf(q *activity.Quantiles) quantilesAnswer {
	if q.Count == 0 {
		return quantilesAnswer{}
	}
	ms := func(d time.Duration) *float64 {
		f := millis(d)
		return &f
	}
	return quantilesAnswer{ms(q.Average), ms(q.P50), ms(q.P95), ms(q.P99)}
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// finite returns f, or 0 for what JSON does not know.
func finite(f float64) float64 {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	return f
}

// countPatience is how long what counts waits for its turn. It is short, and a
// page of the dashboard asks for several at once; an export may take minutes, and
// is refused instead.
const countPatience = 5 * time.Second

// statsOf returns the index's own statistics, or those of what a filter selects.
func (a *API) statsOf(ctx context.Context, f *activity.Filter) (*activity.Stats, error) {
	if selectsAll(f) {
		return a.cfg.Reader.Stats(ctx)
	}
	leave, err := a.heavy(ctx, a.patience)
	if err != nil {
		return nil, err
	}
	defer leave()
	return a.cfg.Reader.StatsOf(ctx, f)
}
