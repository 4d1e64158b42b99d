package deploy

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	chartlint "helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"
)

type values = map[string]any

var chartFolder = filepath.Join(root, "deploy/helm/midspan")

// rendered are a chart's objects, by kind.
type rendered struct {
	StatefulSet    *apps.StatefulSet
	Services       []*core.Service
	ConfigMap      *core.ConfigMap
	ServiceAccount *core.ServiceAccount
	NetworkPolicy  *networking.NetworkPolicy
}

// template renders the chart as `helm template` does: values by the schema, and each object by Kubernetes' own types.
func template(release, namespace string, with values) (*rendered, error) {
	chart, err := loader.Load(chartFolder)
	if err != nil {
		return nil, err
	}
	all, err := chartutil.ToRenderValues(chart, with, chartutil.ReleaseOptions{Name: release, Namespace: namespace}, nil)
	if err != nil {
		return nil, err
	}
	files, err := engine.Render(chart, all)
	if err != nil {
		return nil, err
	}
	r := new(rendered)
	for name, text := range files {
		if !strings.HasSuffix(name, ".yaml") {
			continue
		}
		for document := range strings.SplitSeq(text, "\n---\n") {
			if strings.TrimSpace(document) == "" {
				continue
			}
			if err := r.add(document); err != nil {
				return nil, fmt.Errorf("%s: %w\n%s", name, err, document)
			}
		}
	}
	return r, nil
}

func (r *rendered) add(document string) error {
	var kind struct {
		Kind     string `json:"kind"`
		Metadata struct {
			Name string `json:"name"`
		} `json:"metadata"`
	}
	if err := yaml.Unmarshal([]byte(document), &kind); err != nil {
		return err
	}
	if wrong := validation.IsDNS1035Label(kind.Metadata.Name); len(wrong) > 0 {
		return fmt.Errorf("name %q: %v", kind.Metadata.Name, wrong)
	}
	var into any
	switch kind.Kind {
	case "StatefulSet":
		r.StatefulSet = new(apps.StatefulSet)
		into = r.StatefulSet
	case "Service":
		r.Services = append(r.Services, new(core.Service))
		into = r.Services[len(r.Services)-1]
	case "ConfigMap":
		r.ConfigMap = new(core.ConfigMap)
		into = r.ConfigMap
	case "ServiceAccount":
		r.ServiceAccount = new(core.ServiceAccount)
		into = r.ServiceAccount
	case "NetworkPolicy":
		r.NetworkPolicy = new(networking.NetworkPolicy)
		into = r.NetworkPolicy
	default:
		return fmt.Errorf("unknown kind %q", kind.Kind)
	}
	return yaml.UnmarshalStrict([]byte(document), into)
}

// render returns the chart's objects and its settings file.
func render(t *testing.T, release, namespace string, with values) (objects *rendered, settings string) {
	t.Helper()
	r, err := template(release, namespace, with)
	if err != nil {
		t.Fatal(err)
	}
	return r, r.ConfigMap.Data["midspan.yaml"]
}

var withTokens = values{"auth": values{"existingSecret": "tokens"}}

func TestChartLint(t *testing.T) {
	result := chartlint.All(chartFolder, withTokens, "default", true)
	for _, m := range result.Messages {
		if m.Severity > support.InfoSev {
			t.Error(m)
		}
	}
}

// TestChart holds what an operator relies on.
func TestChart(t *testing.T) {
	r, settings := render(t, "midspan", "tracing", withTokens)
	if r.NetworkPolicy == nil || r.ServiceAccount == nil || len(r.Services) != 2 {
		t.Fatalf("%+v", r)
	}
	set := r.StatefulSet.Spec
	pod := set.Template.Spec
	if *set.Replicas != 1 || set.ServiceName != "midspan-headless" || len(set.VolumeClaimTemplates) != 1 {
		t.Errorf("%+v", set)
	}
	// Whoever reads reaches a pod that can't store anything, and new settings do too.
	for _, s := range r.Services {
		if !s.Spec.PublishNotReadyAddresses {
			t.Errorf("%s leads nowhere when the disk is full", s.Name)
		}
	}
	if set.PodManagementPolicy != apps.ParallelPodManagement {
		t.Errorf("a pod that is not ready stays as it is: %q", set.PodManagementPolicy)
	}
	for key, value := range set.Selector.MatchLabels {
		if set.Template.Labels[key] != value || r.Services[0].Spec.Selector[key] != value || r.NetworkPolicy.Spec.PodSelector.MatchLabels[key] != value {
			t.Errorf("%s=%s does not select the pod everywhere", key, value)
		}
	}
	if c := pod.SecurityContext; !*c.RunAsNonRoot || *c.RunAsUser == 0 || *c.FSGroup != *c.RunAsUser || c.SeccompProfile.Type != core.SeccompProfileTypeRuntimeDefault {
		t.Errorf("%+v", c)
	}
	if *pod.AutomountServiceAccountToken || *pod.EnableServiceLinks || *pod.TerminationGracePeriodSeconds < 15 {
		t.Errorf("%+v", pod)
	}
	container := pod.Containers[0]
	if c := container.SecurityContext; *c.AllowPrivilegeEscalation || !*c.ReadOnlyRootFilesystem || !slices.Equal(c.Capabilities.Drop, []core.Capability{"ALL"}) {
		t.Errorf("%+v", c)
	}
	ports := map[string]bool{}
	for _, p := range container.Ports {
		ports[p.Name] = true
	}
	for name, probe := range map[string]*core.Probe{"/healthz": container.LivenessProbe, "/readyz": container.ReadinessProbe} {
		if probe.HTTPGet.Path != name || !ports[probe.HTTPGet.Port.StrVal] {
			t.Errorf("%s: %+v", name, probe)
		}
	}
	for _, rule := range r.NetworkPolicy.Spec.Ingress {
		for _, p := range rule.Ports {
			if !ports[p.Port.StrVal] {
				t.Errorf("the policy lets in %v", p)
			}
		}
	}
	volumes := map[string]bool{set.VolumeClaimTemplates[0].Name: true}
	for _, v := range pod.Volumes {
		volumes[v.Name] = true
	}
	for _, m := range container.VolumeMounts {
		if !volumes[m.Name] {
			t.Errorf("%s is mounted and is no volume", m.Name)
		}
	}
	for _, want := range []string{`"midspan.tracing.svc"`, `token-file: "/etc/midspan-tokens/tokens"`, `data: "/data"`, `retain-age: "336h"`} {
		if !strings.Contains(settings, want) {
			t.Errorf("the settings lack %s:\n%s", want, settings)
		}
	}
}

// TestChartValues holds what may be set, and that what can't be meant is told.
func TestChartValues(t *testing.T) {
	egress := []any{map[string]any{"to": []any{map[string]any{"podSelector": map[string]any{}}}}}
	for _, tt := range []struct {
		name  string
		with  values
		want  string // in the error, or in the settings
		fails bool
	}{
		{"no token", nil, "auth", true},
		{"insecure", values{"auth": values{"insecure": true}}, "insecure: true", false},
		{"large number", values{"auth": withTokens["auth"], "config": values{"retain-bytes": float64(10 << 30)}}, "retain-bytes: 10737418240", false},
		{"forward", values{"auth": withTokens["auth"], "config": values{"forward": []any{"grpc://jaeger:4317"}}, "networkPolicy": values{"egress": egress}}, `forward: ["grpc://jaeger:4317"]`, false},
		{"forward to nobody", values{"auth": withTokens["auth"], "config": values{"forward": []any{"grpc://jaeger:4317"}}}, "networkPolicy.egress", true},
		{"the chart's own", values{"auth": withTokens["auth"], "config": values{"listen": "0.0.0.0:1"}}, "propertyName 'listen'", true},
		{"unknown value", values{"auth": withTokens["auth"], "replicas": 3}, "replicas", true},
		{"TLS", values{"auth": withTokens["auth"], "tls": values{"existingSecret": "cert"}}, `otlp-tls-key: "/etc/midspan-tls/tls.key"`, false},
		{"wrong size", values{"auth": withTokens["auth"], "persistence": values{"size": "20"}}, "persistence", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := template("a-release", "default", tt.with)
			if (err != nil) != tt.fails {
				t.Fatalf("%v", err)
			}
			got := fmt.Sprint(err)
			if err == nil {
				got = r.ConfigMap.Data["midspan.yaml"]
			}
			if !strings.Contains(got, tt.want) {
				t.Errorf("%q is not in %s", tt.want, got)
			}
			if err != nil {
				return
			}
			scheme := core.URISchemeHTTP
			if tt.with["tls"] != nil {
				scheme = core.URISchemeHTTPS
			}
			if got := r.StatefulSet.Spec.Template.Spec.Containers[0].ReadinessProbe.HTTPGet.Scheme; got != scheme {
				t.Errorf("it is probed by %s", got)
			}
		})
	}
}
