//go:build unix

package sqlite

import (
	"os"
	"syscall"
)

// lockFile takes the file for this process, which the end of the process frees.
func lockFile(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}
