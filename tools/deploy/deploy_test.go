// Package deploy checks what is deployed with the tools' own parsers, on a machine without a container engine.
package deploy

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	digest "github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

const root = "../.."

// TestCompose loads the compose files as `docker compose` does: schema, interpolation, references.
func TestCompose(t *testing.T) {
	for _, tt := range []struct {
		file     string
		services []string
	}{
		{"docker-compose.yml", []string{"midspan", "jaeger"}},
		{"deploy/compose/compose.yaml", []string{"midspan", "collector", "jaeger", "prometheus", "grafana"}},
	} {
		project := compose(t, tt.file)
		if len(project.Services) != len(tt.services) {
			t.Errorf("%s has %d services", tt.file, len(project.Services))
		}
		for _, name := range tt.services {
			service, err := project.GetService(name)
			if err != nil {
				t.Fatal(err)
			}
			if len(service.Ports) == 0 {
				t.Errorf("%s publishes no port", name)
			}
			if problems := exposed(service.Ports); len(problems) > 0 {
				t.Errorf("%s: %v", name, problems)
			}
			for _, volume := range service.Volumes {
				if _, err := os.Stat(volume.Source); volume.Type == types.VolumeTypeBind && err != nil {
					t.Errorf("%s mounts what is not there: %v", name, err)
				}
			}
			if !slices.Contains(service.CapDrop, "ALL") || !slices.Contains(service.SecurityOpt, "no-new-privileges:true") {
				t.Errorf("%s of %s is not hardened", name, tt.file)
			}
		}
		build := project.Services["midspan"].Build
		if _, err := os.Stat(filepath.Join(build.Context, build.Dockerfile)); err != nil {
			t.Error(err)
		}
	}
}

// TestImages holds that what is started has the version whose own code checks its files here.
func TestImages(t *testing.T) {
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	services := compose(t, "deploy/compose/compose.yaml").Services
	for _, tt := range []struct{ service, module, image string }{
		{"collector", `go.opentelemetry.io/collector/otelcol v(\d+\.\d+\.\d+)`, "otel/opentelemetry-collector:%s"},
		{"prometheus", `github.com/prometheus/prometheus v0\.(\d)(\d\d)\.(\d+)`, "prom/prometheus:v%s"},
	} {
		found := regexp.MustCompile(tt.module).FindStringSubmatch(string(mod))
		if found == nil {
			t.Fatalf("go.mod has no %s", tt.module)
		}
		parts := found[1:]
		if len(parts) == 3 { // v0.316.0 is Prometheus 3.16.0, v0.308.0 is 3.8.0
			parts[1] = strings.TrimPrefix(parts[1], "0")
		}
		if want := fmt.Sprintf(tt.image, strings.Join(parts, ".")); services[tt.service].Image != want {
			t.Errorf("%s is %s, checked is %s", tt.service, services[tt.service].Image, want)
		}
	}
}

// TestExposed proves that TestCompose can fail.
func TestExposed(t *testing.T) {
	for _, tt := range []struct {
		name string
		port types.ServicePortConfig
		want int
	}{
		{"loopback", types.ServicePortConfig{HostIP: "127.0.0.1", Published: "18080"}, 0},
		{"every address", types.ServicePortConfig{Published: "18080"}, 1},
		{"a public address", types.ServicePortConfig{HostIP: "192.0.2.1", Published: "18080"}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := exposed([]types.ServicePortConfig{tt.port}); len(got) != tt.want {
				t.Errorf("got %v, want %d problems", got, tt.want)
			}
		})
	}
}

// TestDockerfile runs the checks of `docker build --check`; a warning is an error.
func TestDockerfile(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "deploy/Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range lint(t, text) {
		t.Error(problem)
	}
}

// TestDockerfileLint proves that TestDockerfile can fail.
func TestDockerfileLint(t *testing.T) {
	for _, tt := range []struct{ name, text string }{
		{"unknown instruction", "FROM scratch\nINSTALL x\n"},
		{"undefined variable", "FROM scratch\nCOPY $missing /a\n"},
		{"shell form", "FROM scratch\nENTRYPOINT /midspan\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if len(lint(t, []byte(tt.text))) == 0 {
				t.Error("nothing found")
			}
		})
	}
}

func compose(t *testing.T, file string) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{filepath.Join(root, file)},
		cli.WithName("midspan"), cli.WithResolvedPaths(true))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// exposed lists the ports that are published beyond the loopback address.
func exposed(ports []types.ServicePortConfig) []string {
	var problems []string
	for _, port := range ports {
		if ip := net.ParseIP(port.HostIP); ip == nil || !ip.IsLoopback() {
			problems = append(problems, fmt.Sprintf("port %s is published on %q, not on loopback", port.Published, port.HostIP))
		}
	}
	return problems
}

func lint(t *testing.T, dockerfile []byte) []string {
	t.Helper()
	options := dockerfile2llb.ConvertOpt{
		MetaResolver: noRegistry{},
		SourceMap:    llb.NewSourceMap(nil, "Dockerfile", "Dockerfile", dockerfile),
	}
	var err error
	if options.SourceMap.Definition, err = llb.Local("dockerfile").Marshal(t.Context()); err != nil {
		t.Fatal(err)
	}
	options.LinterConfig = &linter.Config{}
	results, err := dockerfile2llb.DockerfileLint(t.Context(), dockerfile, options)
	if err != nil {
		t.Fatal(err)
	}
	var problems []string
	if results.Error != nil {
		problems = append(problems, results.Error.Message)
	}
	for _, warning := range results.Warnings {
		problems = append(problems, warning.RuleName+": "+warning.Detail)
	}
	return problems
}

// noRegistry answers for every base image without asking a registry for it.
type noRegistry struct{}

func (noRegistry) ResolveImageConfig(_ context.Context, ref string, _ sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	config, err := json.Marshal(ocispecs.Image{Platform: ocispecs.Platform{OS: "linux", Architecture: "amd64"}})
	return ref, "", config, err
}
