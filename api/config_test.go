package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/midspan/midspan/index"
)

func TestConfig(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(c *Config)
		err    string // a part of it; empty for none
	}{
		{"defaults", func(*Config) {}, ""},
		{"no reader", func(c *Config) { c.Reader = nil }, "give it the index"},
		{"localhost", func(c *Config) { c.Listen = "localhost:0" }, ""},
		{"IPv6 loopback", func(c *Config) { c.Listen = "[::1]:18080" }, ""},
		{"named port", func(c *Config) { c.Listen = "127.0.0.1:http" }, ""},
		{"no port", func(c *Config) { c.Listen = "127.0.0.1" }, "host:port"},
		{"bad port", func(c *Config) { c.Listen = "127.0.0.1:nonsense" }, "is no port"},
		{"everywhere", func(c *Config) { c.Listen = ":18080" }, "set a token"},
		{"everywhere, in full", func(c *Config) { c.Listen = "0.0.0.0:18080" }, "set a token"},
		{"a net", func(c *Config) { c.Listen = "192.168.1.5:18080" }, "set a token"},
		{"a name", func(c *Config) { c.Listen = "box.lan:18080" }, "set a token"},
		{"everywhere with a token", func(c *Config) { c.Listen, c.Keys = ":18080", keyring(t, token) }, ""},
		{"everywhere, insecure", func(c *Config) { c.Listen, c.Insecure = ":18080", true }, ""},
		{"allowed host with a scheme", func(c *Config) { c.AllowHosts = []string{"http://a"} }, "without scheme"},
		{"allowed host with a wildcard", func(c *Config) { c.AllowHosts = []string{"*"} }, "without scheme"},
		{"empty allowed host", func(c *Config) { c.AllowHosts = []string{""} }, "without scheme"},
		{"allowed hosts", func(c *Config) { c.AllowHosts = []string{"a.example", "b:8080", "10.0.0.1", "[fd00::1]:80"} }, ""},
		{"Jaeger without a scheme", func(c *Config) { c.JaegerURL = "localhost:16686" }, "http://host:port"},
		{"Jaeger with a script", func(c *Config) { c.JaegerURL = "javascript:alert(1)" }, "http://host:port"},
		{"Jaeger with a query", func(c *Config) { c.JaegerURL = "http://localhost?x=1" }, "http://host:port"},
		{"Jaeger below a path", func(c *Config) { c.JaegerURL = "https://example.com/jaeger/" }, ""},
		{"negative limit", func(c *Config) { c.MaxStreams = -1 }, "MaxStreams is -1"},
		{"negative time", func(c *Config) { c.SessionIdle = -time.Second }, "must not be negative"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := Config{Reader: index.New(index.Config{}), Logger: slog.New(slog.DiscardHandler)}
			tt.change(&cfg)
			_, err := New(cfg)
			switch {
			case err == nil && tt.err != "":
				t.Errorf("no error, want %q", tt.err)
			case err != nil && (tt.err == "" || !strings.Contains(err.Error(), tt.err)):
				t.Errorf("%v, want %q", err, tt.err)
			case err != nil && strings.Contains(err.Error(), token):
				t.Errorf("the error tells the token: %v", err)
			}
		})
	}
}

func TestWarnings(t *testing.T) {
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	for _, cfg := range []Config{{Keys: keyring(t, "short")}, {Listen: ":1", Insecure: true}} {
		cfg.Reader, cfg.Logger = index.New(index.Config{}), logger
		if _, err := New(cfg); err != nil {
			t.Fatal(err)
		}
	}
	if got := log.String(); !strings.Contains(got, "can be guessed") || !strings.Contains(got, "everyone who reaches this address") || strings.Contains(got, "=short") {
		t.Errorf("%s", got)
	}
}

func TestTokenPrintsAsAsterisks(t *testing.T) {
	var log bytes.Buffer
	secret := Token(token)
	b, err := json.Marshal(map[string]any{"token": secret})
	if err != nil {
		t.Fatal(err)
	}
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "token", secret)
	for _, got := range []string{fmt.Sprint(secret), fmt.Sprintf("%v %s %+v %+v %#v %q", secret, secret, Config{Keys: keyring(t, token)}, Grant{Token: secret}, secret, secret), string(b), log.String()} {
		if strings.Contains(got, token) || !strings.Contains(got, "****") {
			t.Errorf("%s", got)
		}
	}
}
