//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package orchestrator

import (
	"errors"
	"os"
	"syscall"
)

// tryLock locks a file until it is closed. It is false when another process has.
func tryLock(f *os.File) (bool, error) {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

// own reports whether a path is a folder of this user's, and no link to one.
func own(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || !info.IsDir() {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Getuid()
}
