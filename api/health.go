package api

import (
	_ "embed"
	"fmt"
	"net/http"
)

//go:embed openapi.json
var openapiDocument []byte

func (a *API) openapi(w http.ResponseWriter, r *http.Request) error {
	if err := a.params(r).finish(); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(describe(&a.cfg))
	return nil
}

// healthz says that the process answers, and which one it is.
func (a *API) healthz(w http.ResponseWriter, r *http.Request) error {
	if err := a.params(r).finish(); err != nil {
		return err
	}
	return answerJSON(w, struct {
		Status    string  `json:"status"`
		Version   string  `json:"version"`
		Service   string  `json:"service"`
		JaegerURL *string `json:"jaeger_url"`
		LogID     string  `json:"log_id"`
		Ack       *string `json:"ack"`
	}{"ok", a.cfg.Version, a.cfg.Service, orNull(a.cfg.JaegerURL), a.cfg.Reader.Head().LogID, orNull(a.cfg.Ack)})
}

// maxDamage bounds what one answer tells of damage.
const maxDamage = 10

// readyz says whether new clients should be sent here: not while it shuts down,
// nor while what they send can't be kept. What is damaged of the history is told and
// makes it no less ready: it takes and shows everything else, which nobody could
// reach if it were not.
func (a *API) readyz(w http.ResponseWriter, r *http.Request) error {
	if err := a.params(r).finish(); err != nil {
		return err
	}
	select {
	case <-a.closing:
		return &problem{status: http.StatusServiceUnavailable, retryAfter: 5, detail: "the server is shutting down"}
	default:
	}
	if err := a.cfg.Ready(); err != nil {
		return &problem{status: http.StatusServiceUnavailable, retryAfter: 5, detail: err.Error()}
	}
	damage, _ := a.cfg.Damage()
	if rest := len(damage) - maxDamage; rest > 0 {
		damage = append(damage[:maxDamage:maxDamage], fmt.Sprintf("and %d more", rest))
	}
	return answerJSON(w, struct {
		Status string   `json:"status"`
		Damage []string `json:"damage,omitempty"`
	}{"ready", damage})
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
