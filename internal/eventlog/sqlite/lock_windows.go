package sqlite

import (
	"os"
	"syscall"
	"unsafe"
)

var lockFileEx = syscall.NewLazyDLL("kernel32.dll").NewProc("LockFileEx")

// lockFile takes the file for this process, which the end of the process frees.
// The lock lies beyond what the file holds, so that this can still be read.
func lockFile(f *os.File) error {
	const failImmediately, exclusive = 1, 2
	overlapped := syscall.Overlapped{Offset: 1 << 30}
	ok, _, err := lockFileEx.Call(f.Fd(), failImmediately|exclusive, 0, 1, 0, uintptr(unsafe.Pointer(&overlapped)))
	if ok == 0 {
		return err
	}
	return nil
}
