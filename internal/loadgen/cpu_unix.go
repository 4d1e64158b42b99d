//go:build unix

package loadgen

import (
	"syscall"
	"time"
)

// cpu returns what the process has used of the processors so far.
func cpu() time.Duration {
	var used syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &used) != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
