package midspan

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/midspan/midspan/activity"
)

// newResource describes this process. What is named later wins: our own
// findings, the configuration, the environment. The process's command line is
// left away, since it may hold secrets.
func newResource(cfg *Config) (*resource.Resource, error) {
	own, err := resource.New(context.Background(),
		resource.WithTelemetrySDK(), resource.WithHost(), resource.WithOSType(), resource.WithProcessPID(),
		resource.WithProcessRuntimeName(), resource.WithProcessRuntimeVersion(),
		resource.WithAttributes(semconv.ServiceInstanceID(newRandomID())))
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, fmt.Errorf("midspan: describe this process: %w", err)
	}
	var named []attribute.KeyValue
	if cfg.Service != "" {
		named = append(named, semconv.ServiceName(cfg.Service))
	}
	if cfg.Version != "" {
		named = append(named, semconv.ServiceVersion(cfg.Version))
	}
	if cfg.Bridge != "" {
		named = append(named, attribute.String(activity.KeyLeaseID, newRandomID()))
		if ttl := cfg.BridgeLease; ttl != 0 && ttl != activity.DefaultLeaseTTL {
			named = append(named, attribute.Int64(activity.KeyLeaseResourceTTL, ttl.Milliseconds()))
		}
	}
	r := resource.Default()
	for _, next := range []*resource.Resource{own, resource.NewSchemaless(named...), cfg.Resource, resource.Environment()} {
		// A conflict of schemas costs the schema's address alone.
		if r, err = resource.Merge(r, next); err != nil && !errors.Is(err, resource.ErrSchemaURLConflict) {
			return nil, fmt.Errorf("midspan: merge resources: %w", err)
		}
	}
	return r, nil
}

func serviceOf(r *resource.Resource) string {
	v, _ := r.Set().Value(activity.KeyServiceName)
	return v.AsString()
}

// newRandomID returns a random UUID (RFC 9562, version 4).
func newRandomID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: it would end the program
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
