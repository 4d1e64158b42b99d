package sqlite

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
)

// lockName is the file that whoever has the folder open holds. It also tells how
// far the log was acknowledged, so that a WAL cut short by damage, which SQLite
// takes for a crash, does not pass for the whole of it. It is written after each
// commit and not synced: after a power cut it may be behind, never ahead.
const lockName = "midspan.lock"

type folderLock struct{ file *os.File } // nil when there is none

// lockFolder locks a folder against other processes, until Close.
func lockFolder(folder string) (*folderLock, error) {
	f, err := os.OpenFile(filepath.Join(folder, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lockFile(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s is %w: stop it, or choose another folder (%w)", folder, ErrInUse, err)
	}
	return &folderLock{f}, nil
}

// lockRecord is the log's id, the last sequence, and the checksum of both.
const lockRecord = 26 + 8 + 4

// acknowledge notes the last sequence of a log.
func (k *folderLock) acknowledge(id string, last uint64) {
	var b [lockRecord]byte
	copy(b[:], id)
	binary.LittleEndian.PutUint64(b[26:], last)
	binary.LittleEndian.PutUint32(b[34:], crc32.Checksum(b[:34], crc32.MakeTable(crc32.Castagnoli)))
	_, _ = k.file.WriteAt(b[:], 0) // it is a help to find damage, no part of the log
}

// acknowledged returns what was noted of a log, or 0.
func (k *folderLock) acknowledged(id string) uint64 {
	var b [lockRecord]byte
	if _, err := k.file.ReadAt(b[:], 0); err != nil || string(b[:26]) != id ||
		binary.LittleEndian.Uint32(b[34:]) != crc32.Checksum(b[:34], crc32.MakeTable(crc32.Castagnoli)) {
		return 0
	}
	return binary.LittleEndian.Uint64(b[26:])
}

func (k *folderLock) Close() error {
	if k.file == nil {
		return nil
	}
	return k.file.Close()
}
