package bridge

import (
	"errors"
	"time"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/internal/liveness"
	"github.com/midspan/midspan/internal/redact"
)

// cleanLeases knows processes by their resources without secrets, as the log and
// the index do: their names are shown and logged.
type cleanLeases struct {
	*liveness.Leases
	redact *redact.Redactor
}

var errLeaseName = errors.New("the name of its lease holds too many secrets to be one")

// Renewed implements receiver.Leases.
func (l cleanLeases) Renewed(r *activity.Resource, ttl time.Duration, seq uint64, sentAt activity.Time) error {
	if r = l.redact.Resource(r); r.Lease() == "" {
		return errLeaseName
	}
	return l.Leases.Renewed(r, ttl, seq, sentAt)
}

// Ended implements receiver.Leases.
func (l cleanLeases) Ended(r *activity.Resource) {
	if r = l.redact.Resource(r); r.Lease() != "" {
		l.Leases.Ended(r)
	}
}

// Seen implements receiver.Leases.
func (l cleanLeases) Seen(r *activity.Resource) { l.Leases.Seen(l.redact.Resource(r)) }
