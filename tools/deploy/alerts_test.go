package deploy

import (
	"regexp"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
)

// never is no time at which an alert fires.
const never = time.Duration(-1)

// TestAlerts has Prometheus' own engine read series as `promtool test rules` has them, a sample a minute, and holds when
// each alert fires.
func TestAlerts(t *testing.T) {
	rules := alerts(t)
	fired := map[string]bool{}
	for _, tt := range []struct {
		name, alert string
		series      []string
		fires       time.Duration // after the first sample
	}{
		{"down for two minutes", "MidspanDown", []string{`up{job="midspan", instance="a"} 1 1 0x10`}, 4 * time.Minute},
		{"down for a moment", "MidspanDown", []string{`up{job="midspan", instance="a"} 1 0 0 1x10`}, never},
		{"another one is down", "MidspanDown", []string{`up{job="jaeger", instance="a"} 0x10`}, never},
		{"nothing can be stored", "MidspanStoresNothing", []string{`midspan_receiver_unavailable_total{instance="a"} 0x2 1+1x20`}, 5 * time.Minute},
		{"all is stored", "MidspanStoresNothing", []string{`midspan_receiver_unavailable_total{instance="a"} 7x20`}, never},
		{"more than it takes", "MidspanOverloaded", []string{`midspan_receiver_refused_total{instance="a"} 0x2 1+1x20`}, 13 * time.Minute},
		{"more than it takes for a moment", "MidspanOverloaded", []string{`midspan_receiver_refused_total{instance="a"} 0x2 1 2 2x20`}, never},
		{"wrong spans", "MidspanRejectsSpans", []string{`midspan_receiver_rejected_total{instance="a"} 0x2 1+1x20`}, 18 * time.Minute},
		{"one wrong span", "MidspanRejectsSpans", []string{`midspan_receiver_rejected_total{instance="a"} 0x2 1x40`}, never},
		{"at a limit", "MidspanLimitHit", []string{`midspan_limit_hits_total{instance="a", midspan_limit="max-in-flight"} 0x2 1x20`}, 8 * time.Minute},
		{"what is old goes", "MidspanLimitHit", []string{
			`midspan_limit_hits_total{instance="a", midspan_limit="retain-age"} 0+5x40`, `midspan_limit_hits_total{instance="a", midspan_limit="max-finished"} 0+5x40`,
		}, never},
		{"nearly full", "MidspanInFlightNearlyFull", []string{
			`midspan_index_held{instance="a", midspan_finished="false"} 91x20`, `midspan_index_limit{instance="a", midspan_finished="false"} 100x20`,
		}, 5 * time.Minute},
		{"nine tenths full", "MidspanInFlightNearlyFull", []string{
			`midspan_index_held{instance="a", midspan_finished="false"} 90x20`, `midspan_index_limit{instance="a", midspan_finished="false"} 100x20`,
		}, never},
		{"a target is away", "MidspanForwardAway", []string{`midspan_forward_away{instance="a", midspan_forward_target="jaeger"} 0 1x20`}, 11 * time.Minute},
		{"a target comes and goes", "MidspanForwardAway", []string{`midspan_forward_away{instance="a", midspan_forward_target="jaeger"} 1x8 0 1x8 0`}, never},
		{"a target is behind", "MidspanForwardBehind", []string{`midspan_forward_lag_seconds{instance="a", midspan_forward_target="jaeger"} 301x20`}, 15 * time.Minute},
		{"a target is not far behind", "MidspanForwardBehind", []string{`midspan_forward_lag_seconds{instance="a", midspan_forward_target="jaeger"} 300x20`}, never},
		{"spans were dropped", "MidspanForwardDropped", []string{`midspan_forward_dropped_total{instance="a", midspan_forward_target="jaeger"} 0 0 5x20`}, 2 * time.Minute},
		{"none were dropped", "MidspanForwardDropped", []string{`midspan_forward_dropped_total{instance="a", midspan_forward_target="jaeger"} 5x20`}, never},
		{"a segment is damaged", "MidspanHistoryDamaged", []string{`midspan_history_damaged{instance="a"} 0 0 1x20`}, 2 * time.Minute},
		{"none is damaged", "MidspanHistoryDamaged", []string{`midspan_history_damaged{instance="a"} 0x20`}, never},
		{"activities were lost", "MidspanActivitiesLost", []string{`midspan_lease_lost_total{instance="a"} 0 0 0 2x20`}, 3 * time.Minute},
		{"none were lost", "MidspanActivitiesLost", []string{`midspan_lease_lost_total{instance="a"} 2x20`}, never},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rule, ok := rules[tt.alert]
			if !ok {
				t.Fatalf("there is no alert %s", tt.alert)
			}
			fires, of := firing(t, rule, tt.series)
			if fires != tt.fires {
				t.Errorf("it fires after %v, want %v", fires, tt.fires)
			}
			if fires == never {
				return
			}
			fired[tt.alert] = true
			for name, text := range rule.Annotations {
				for _, label := range regexp.MustCompile(`\$labels\.(\w+)`).FindAllStringSubmatch(text, -1) {
					if !of.Has(label[1]) {
						t.Errorf("its %s tells of the label %s, which it has not: %v", name, label[1], of)
					}
				}
			}
		})
	}
	for name := range rules {
		if !fired[name] {
			t.Errorf("%s was never fired", name)
		}
	}
}

// firing returns when a rule fires first, and of what.
func firing(t *testing.T, rule rulefmt.Rule, series []string) (time.Duration, labels.Labels) {
	t.Helper()
	promQL := parser.NewParser(parser.Options{})
	var all []storage.Series
	length := 0
	for _, text := range series {
		of, values, err := promQL.ParseSeriesDesc(text)
		if err != nil {
			t.Fatal(err)
		}
		s := promql.Series{Metric: of}
		for i, v := range values {
			s.Floats = append(s.Floats, promql.FPoint{T: int64(i) * time.Minute.Milliseconds(), F: v.Value})
		}
		all = append(all, promql.NewStorageSeries(s))
		length = max(length, len(values))
	}
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1e6, Timeout: time.Minute, Parser: promQL})
	query, err := engine.NewRangeQuery(t.Context(), stored(all), nil, rule.Expr, time.Unix(0, 0), time.Unix(0, 0).Add(time.Duration(length-1)*time.Minute), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer query.Close()
	matrix, err := query.Exec(t.Context()).Matrix()
	if err != nil {
		t.Fatal(err)
	}
	first, of := never, labels.Labels{}
	for _, s := range matrix {
		active, last := never, never
		for _, p := range s.Floats {
			at := time.Duration(p.T) * time.Millisecond
			if active == never || at > last+time.Minute {
				active = at
			}
			if last = at; at-active >= time.Duration(rule.For) {
				if first == never || at < first {
					first, of = at, s.Metric
				}
				break
			}
		}
	}
	return first, of
}

// stored is a storage.Queryable of some series.
func stored(series []storage.Series) storage.Queryable {
	return &storage.MockQueryable{MockQuerier: &storage.MockQuerier{
		SelectMockFunction: func(_ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
			var found []storage.Series
			for _, s := range series {
				matches := true
				for _, m := range matchers {
					matches = matches && m.Matches(s.Labels().Get(m.Name))
				}
				if matches {
					found = append(found, s)
				}
			}
			return &seriesSet{left: found}
		},
	}}
}

// seriesSet is a storage.SeriesSet of what is left.
type seriesSet struct {
	at   storage.Series
	left []storage.Series
}

func (s *seriesSet) Next() bool {
	if len(s.left) == 0 {
		return false
	}
	s.at, s.left = s.left[0], s.left[1:]
	return true
}

func (s *seriesSet) At() storage.Series                { return s.at }
func (s *seriesSet) Err() error                        { return nil }
func (s *seriesSet) Warnings() annotations.Annotations { return nil }
