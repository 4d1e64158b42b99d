package activity

import "time"

// A process tells of its open activities by OTLP log events: their name is
// LogEventPrefix and a Kind's, their trace and span ids are the activity's, and
// their attributes are those that changed. These attributes say which change it
// is, and are not the activity's own.
const (
	LogEventPrefix = "activity."

	KeyRev          = "activity.rev"            // int, from 1
	KeyName         = "activity.name"           // the span's name
	KeyParentSpanID = "activity.parent_span_id" // 16 hex digits
	KeySpanKind     = "activity.span_kind"      // as OpenTelemetry names it, in any case
	KeySampled      = "activity.sampled"        // bool: false of what no span will follow; true goes without saying
	KeyErrorMessage = "error.message"           // of a failed event
)

// A process that holds a lease names it by a random attribute of its resource,
// renews it by one log event and ends it by another.
const (
	KeyLeaseID = "midspan.lease.id"
	// KeyLeaseResourceTTL is what KeyLeaseTTL is, as an attribute of the resource: a
	// process sets it when its period is not DefaultLeaseTTL, so that who learns of
	// the process from a log knows it before the next renewal.
	KeyLeaseResourceTTL = "midspan.lease.ttl_ms"

	LeaseRenewed = "midspan.lease.renewed"
	LeaseEnded   = "midspan.lease.ended"

	// Attributes of both events.
	KeyLeaseTTL    = "ttl_ms"  // int, milliseconds: its period, in which it is renewed at least once
	KeyLeaseSeq    = "seq"     // int, from 1
	KeyLeaseSentAt = "sent_at" // int, Unix nanoseconds by the sender's clock
)

// Bounds of a lease. Its name is at most MaxLeaseID bytes long: a longer one is
// none.
const (
	MaxLeaseID      = 128
	DefaultLeaseTTL = 5 * time.Second
	MinLeaseTTL     = time.Second
	MaxLeaseTTL     = 5 * time.Minute
)
