//go:build !unix

package loadgen

import "time"

// cpu is not told by this system.
func cpu() time.Duration { return 0 }
