package receiver

import (
	"fmt"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/midspan/midspan/activity"
)

// leasePrefix is that of the names of all log events about leases.
const leasePrefix = "midspan.lease."

// lease hands a lease event over. It makes no event of an activity.
func (b *batch) lease(r plog.LogRecord) {
	name := r.EventName()
	switch {
	case name != activity.LeaseRenewed && name != activity.LeaseEnded:
		b.reject("its event name is neither " + activity.LeaseRenewed + " nor " + activity.LeaseEnded)
		return
	case b.resource == nil || b.resource.Lease() == "":
		b.reject(fmt.Sprintf("its resource has no %s of 1 to %d bytes", activity.KeyLeaseID, activity.MaxLeaseID))
		return
	}
	ttl, ok := intOf(r, activity.KeyLeaseTTL, b.resource.LeaseTTL().Milliseconds())
	if !ok || ttl < activity.MinLeaseTTL.Milliseconds() || ttl > activity.MaxLeaseTTL.Milliseconds() {
		b.reject(fmt.Sprintf("%s is not a whole number from %d to %d", activity.KeyLeaseTTL, activity.MinLeaseTTL.Milliseconds(), activity.MaxLeaseTTL.Milliseconds()))
		return
	}
	seq, ok := intOf(r, activity.KeyLeaseSeq, 0)
	if !ok || seq < 0 {
		b.reject(activity.KeyLeaseSeq + " is not a whole number from 0")
		return
	}
	sentAt, ok := intOf(r, activity.KeyLeaseSentAt, int64(timeOfLog(r)))
	if !ok || sentAt < 0 {
		b.reject(activity.KeyLeaseSentAt + " is not a time in Unix nanoseconds")
		return
	}
	switch leases := b.r.cfg.Leases; {
	case leases == nil:
	case name == activity.LeaseEnded:
		leases.Ended(b.resource)
	default:
		if err := leases.Renewed(b.resource, time.Duration(ttl)*time.Millisecond, uint64(seq), activity.Time(sentAt)); err != nil {
			b.reject(err.Error())
		}
	}
}

// intOf returns an attribute that is a whole number, or what stands for none.
func intOf(r plog.LogRecord, key string, none int64) (int64, bool) {
	v, ok := r.Attributes().Get(key)
	if !ok {
		return none, true
	}
	return v.Int(), v.Type() == pcommon.ValueTypeInt
}
