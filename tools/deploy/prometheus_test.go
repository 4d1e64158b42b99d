package deploy

import (
	"encoding/json"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"sigs.k8s.io/yaml"
)

// used returns the metrics that an expression reads, or why it is none.
func used(expression string) (names []string, err error) {
	// Grafana's own variables.
	expression = strings.NewReplacer("$__rate_interval", "1m", "$instance", "x").Replace(expression)
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expression)
	if err != nil {
		return nil, err
	}
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		if s, ok := node.(*parser.VectorSelector); ok {
			names = append(names, s.Name)
		}
		return nil
	})
	return names, nil
}

// alerts returns the alerts by their names.
func alerts(t *testing.T) map[string]rulefmt.Rule {
	t.Helper()
	groups, errs := rulefmt.ParseFile(filepath.Join(root, "deploy/compose/prometheus/rules.yml"), false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	rules := make(map[string]rulefmt.Rule)
	for _, group := range groups.Groups {
		for _, rule := range group.Rules {
			rules[rule.Alert] = rule
		}
	}
	return rules
}

// TestRulesAndDashboard holds that every alert and every panel is right PromQL, of metrics that a running bridge has.
func TestRulesAndDashboard(t *testing.T) {
	expressions := map[string]string{} // by where they stand
	for name, rule := range alerts(t) {
		expressions["alert "+name] = rule.Expr
		if rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" || rule.Labels["severity"] == "" {
			t.Errorf("alert %s says too little", name)
		}
	}
	var dashboard struct {
		UID        string
		Templating struct {
			List []struct{ Datasource struct{ UID string } }
		}
		Panels []struct {
			ID         int
			Title      string
			Datasource struct{ UID string }
			GridPos    struct{ X, Y, W, H int }
			Targets    []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(read(t, "deploy/compose/grafana/dashboards/midspan.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	var sources struct {
		Datasources []struct{ UID string }
	}
	if err := yaml.Unmarshal([]byte(read(t, "deploy/compose/grafana/provisioning/datasources/prometheus.yaml")), &sources); err != nil {
		t.Fatal(err)
	}
	ids := map[int]bool{}
	for _, panel := range dashboard.Panels {
		if panel.Datasource != sources.Datasources[0] || ids[panel.ID] || panel.GridPos.X+panel.GridPos.W > 24 || len(panel.Targets) == 0 {
			t.Errorf("panel %+v", panel)
		}
		ids[panel.ID] = true
		for _, target := range panel.Targets {
			expressions["panel "+panel.Title+": "+target.Expr] = target.Expr
		}
	}
	if len(expressions) < 30 {
		t.Errorf("%d expressions were looked at", len(expressions))
	}
	there := metrics(t)
	for where, expression := range expressions {
		names, err := used(expression)
		if err != nil || len(names) == 0 {
			t.Errorf("%s: %q: %v", where, expression, err)
		}
		for _, name := range names {
			if !there[name] {
				t.Errorf("%s: no bridge has %s", where, name)
			}
		}
	}
}

// TestPrometheus holds that the bridge is scraped where it listens, and the rules are those that are checked.
func TestPrometheus(t *testing.T) {
	var config struct {
		Global    map[string]string `json:"global"`
		RuleFiles []string          `json:"rule_files"`
		Scrape    []struct {
			JobName string `json:"job_name"`
			Static  []struct {
				Targets []string `json:"targets"`
			} `json:"static_configs"`
		} `json:"scrape_configs"`
	}
	if err := yaml.UnmarshalStrict([]byte(read(t, "deploy/compose/prometheus/prometheus.yml")), &config); err != nil {
		t.Fatal(err)
	}
	if len(config.RuleFiles) != 1 || config.RuleFiles[0] != "rules.yml" || len(config.Scrape) != 1 || config.Scrape[0].JobName != "midspan" ||
		config.Scrape[0].Static[0].Targets[0] != "midspan:18080" {
		t.Errorf("%+v", config)
	}
}
