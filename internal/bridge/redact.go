package bridge

import (
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

// Renewed implements receiver.Leases.
func (l cleanLeases) Renewed(r *activity.Resource, ttl time.Duration, seq uint64, sentAt activity.Time) error {
	return l.Leases.Renewed(l.redact.Resource(r), ttl, seq, sentAt)
}

// Ended implements receiver.Leases.
func (l cleanLeases) Ended(r *activity.Resource) { l.Leases.Ended(l.redact.Resource(r)) }

// Seen implements receiver.Leases.
func (l cleanLeases) Seen(r *activity.Resource) { l.Leases.Seen(l.redact.Resource(r)) }
