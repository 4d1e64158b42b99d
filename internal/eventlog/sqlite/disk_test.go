package sqlite

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// disk stands between SQLite and a folder. It delegates to the real file layer,
// and can make writes fail or cut the power. It knows what is on stable storage:
// what was synced. It syncs nothing itself, which makes it fast.
//
// SQLite finds it by the folder of the file that it opens: one layer, "testdisk",
// is registered for all of them.
type disk struct {
	folder string

	mu    sync.Mutex // guards everything below
	rand  *rand.Rand
	files map[string]*diskFile // by path
	ops   int                  // writes, truncations and syncs so far
	fault func(op int, kind string) (fault, bool)
	cutAt int // operation at which the power goes
	dead  bool
	hit   int // faults injected
}

// fault is how an operation fails: with a code, after it has done a part of its work.
type fault struct {
	code int32
	done float64 // 0 is nothing of it, 1 is all
}

// diskFile is a file of a disk: what is on stable storage, and what was written since.
type diskFile struct {
	durable []byte
	since   []diskWrite
}

// diskWrite is a write, or a truncation to an offset.
type diskWrite struct {
	offset int64
	data   []byte
	cut    bool
}

func (w diskWrite) apply(b []byte) []byte {
	if w.cut {
		if int64(len(b)) > w.offset {
			return b[:w.offset]
		}
		return b
	}
	if end := w.offset + int64(len(w.data)); int64(len(b)) < end {
		b = append(b, make([]byte, end-int64(len(b)))...)
	}
	copy(b[w.offset:], w.data)
	return b
}

// diskName is the layer's name, and noWALName that of one on which there can be no WAL.
const diskName, noWALName = "testdisk", "testdisk-without-wal"

var disks = struct {
	sync.Mutex
	byFolder map[string]*disk
	open     map[uintptr]openFile // by the address of SQLite's file
	methods  map[uintptr]uintptr  // in C memory: ours, by those of the real layer
	vfs      uintptr              // the real one
	noWAL    uintptr
}{byFolder: map[string]*disk{}, open: map[uintptr]openFile{}, methods: map[uintptr]uintptr{}}

type openFile struct {
	disk *disk
	path string
	real *sqlite3.Tsqlite3_io_methods
}

// newDisk puts a disk before a new folder.
func newDisk(t testing.TB, seed uint64) *disk { return addDisk(t, t.TempDir(), seed) }

func addDisk(t testing.TB, folder string, seed uint64) *disk {
	registerDisks(t)
	d := &disk{folder: folder, rand: rand.New(rand.NewPCG(seed, 1)), files: map[string]*diskFile{}}
	disks.Lock()
	defer disks.Unlock()
	disks.byFolder[d.folder] = d
	t.Cleanup(func() {
		disks.Lock()
		defer disks.Unlock()
		delete(disks.byFolder, d.folder)
	})
	return d
}

func diskOf(folder string) *disk {
	disks.Lock()
	defer disks.Unlock()
	return disks.byFolder[folder]
}

// at follows an address of C memory.
func at[T any](address uintptr) *T { return *(**T)(unsafe.Pointer(&address)) }

// code returns a function as C memory holds it. The function must be one of the package's.
func code[F any](f F) uintptr { return *(*uintptr)(unsafe.Pointer(&f)) }

// call returns what stands in C memory as a function.
func call[F any](code uintptr) F { return *(*F)(unsafe.Pointer(&code)) }

type (
	openFunc   = func(*libc.TLS, uintptr, uintptr, uintptr, int32, uintptr) int32
	deleteFunc = func(*libc.TLS, uintptr, uintptr, int32) int32
	closeFunc  = func(*libc.TLS, uintptr) int32
	writeFunc  = func(*libc.TLS, uintptr, uintptr, int32, int64) int32
	sizeFunc   = func(*libc.TLS, uintptr, int64) int32
	syncFunc   = func(*libc.TLS, uintptr, int32) int32
)

var registerOnce sync.Once

func registerDisks(t testing.TB) {
	registerOnce.Do(func() {
		tls := libc.NewTLS()
		disks.vfs = sqlite3.Xsqlite3_vfs_find(tls, 0)
		for _, name := range []string{diskName, noWALName} {
			vfs := libc.Xmalloc(tls, libc.Tsize_t(unsafe.Sizeof(sqlite3.Tsqlite3_vfs{})))
			ours := at[sqlite3.Tsqlite3_vfs](vfs)
			*ours = *at[sqlite3.Tsqlite3_vfs](disks.vfs)
			var err error
			if ours.FzName, err = libc.CString(name); err != nil {
				t.Fatal(err)
			}
			ours.FpNext = 0
			ours.FxOpen, ours.FxDelete = code[openFunc](diskOpen), code[deleteFunc](diskDelete)
			if name == noWALName {
				disks.noWAL = vfs
			}
			if rc := sqlite3.Xsqlite3_vfs_register(tls, vfs, 0); rc != 0 {
				t.Fatalf("register: %d", rc)
			}
		}
	})
}

// diskOpen opens a file by the real layer, and puts our methods before its own.
func diskOpen(tls *libc.TLS, vfs, name, file uintptr, flags int32, out uintptr) int32 {
	if rc := call[openFunc](at[sqlite3.Tsqlite3_vfs](disks.vfs).FxOpen)(tls, disks.vfs, name, file, flags, out); rc != 0 || name == 0 {
		return rc
	}
	path := libc.GoString(name)
	disks.Lock()
	defer disks.Unlock()
	d := disks.byFolder[filepath.Dir(path)]
	if d == nil {
		return 0
	}
	methods := &at[sqlite3.Tsqlite3_file](file).FpMethods
	real := at[sqlite3.Tsqlite3_io_methods](*methods)
	ours, ok := disks.methods[*methods]
	if !ok || vfs == disks.noWAL {
		ours = libc.Xmalloc(tls, libc.Tsize_t(unsafe.Sizeof(*real)))
		m := at[sqlite3.Tsqlite3_io_methods](ours)
		*m = *real
		m.FxClose, m.FxWrite = code[closeFunc](diskClose), code[writeFunc](diskWriteTo)
		m.FxTruncate, m.FxSync = code[sizeFunc](diskTruncate), code[syncFunc](diskSync)
		if vfs == disks.noWAL {
			m.FiVersion = 1 // no shared memory
		} else {
			disks.methods[*methods] = ours
		}
	}
	*methods = ours
	disks.open[file] = openFile{d, path, real}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.files[path] == nil {
		b, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			panic(err)
		}
		d.files[path] = &diskFile{durable: b}
	}
	return 0
}

func opened(file uintptr) openFile {
	disks.Lock()
	defer disks.Unlock()
	return disks.open[file]
}

func diskClose(tls *libc.TLS, file uintptr) int32 {
	disks.Lock()
	f := disks.open[file]
	delete(disks.open, file)
	disks.Unlock()
	return call[closeFunc](f.real.FxClose)(tls, file)
}

func diskDelete(tls *libc.TLS, _, name uintptr, sync int32) int32 {
	path := libc.GoString(name)
	if d := diskOf(filepath.Dir(path)); d != nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.dead {
			return sqlite3.SQLITE_IOERR_DELETE
		}
		delete(d.files, path)
	}
	return call[deleteFunc](at[sqlite3.Tsqlite3_vfs](disks.vfs).FxDelete)(tls, disks.vfs, name, sync)
}

// next counts an operation and tells how it fails. d.mu is held.
func (d *disk) next(kind string, dead int32) (fault, bool) {
	if d.dead {
		return fault{code: dead}, true
	}
	d.ops++
	if d.cutAt > 0 && d.ops >= d.cutAt {
		d.dead = true
		return fault{code: dead}, true
	}
	if d.fault != nil {
		if f, ok := d.fault(d.ops, kind); ok {
			d.hit++
			return f, true
		}
	}
	return fault{}, false
}

func diskWriteTo(tls *libc.TLS, file, data uintptr, n int32, offset int64) int32 {
	f := opened(file)
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	failing, fails := f.disk.next("write", sqlite3.SQLITE_IOERR_WRITE)
	if fails {
		if n = int32(float64(n) * failing.done); n == 0 {
			return failing.code
		}
	}
	rc := call[writeFunc](f.real.FxWrite)(tls, file, data, n, offset)
	if rc == 0 {
		f.disk.write(f.path, diskWrite{offset: offset, data: append([]byte(nil), unsafe.Slice(at[byte](data), n)...)})
	}
	if fails {
		return failing.code
	}
	return rc
}

func (d *disk) write(path string, w diskWrite) {
	if file := d.files[path]; file != nil {
		file.since = append(file.since, w)
	}
}

func diskTruncate(tls *libc.TLS, file uintptr, size int64) int32 {
	f := opened(file)
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	failing, fails := f.disk.next("truncate", sqlite3.SQLITE_IOERR_TRUNCATE)
	if fails && failing.done < 1 {
		return failing.code
	}
	rc := call[sizeFunc](f.real.FxTruncate)(tls, file, size)
	if rc == 0 {
		f.disk.write(f.path, diskWrite{offset: size, cut: true})
	}
	if fails {
		return failing.code
	}
	return rc
}

func diskSync(_ *libc.TLS, file uintptr, _ int32) int32 {
	f := opened(file)
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	failing, fails := f.disk.next("sync", sqlite3.SQLITE_IOERR_FSYNC)
	if fails && failing.done < 1 {
		return failing.code
	}
	if image := f.disk.files[f.path]; image != nil {
		for _, w := range image.since {
			image.durable = w.apply(image.durable)
		}
		image.since = nil
	}
	if fails {
		return failing.code
	}
	return 0
}

// set changes what the disk does from now on.
func (d *disk) set(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
}

// sector is what a disk writes as a whole.
const sector = 512

// powerCut makes a folder of what a power cut now would leave: all that was
// synced, and of what was written since any part, sector by sector.
func (d *disk) powerCut(t testing.TB) string {
	to := t.TempDir()
	d.mu.Lock()
	defer d.mu.Unlock()
	share := d.rand.Float64() // of what was not synced, that is there all the same
	if d.rand.IntN(3) == 0 {
		share = 0
	}
	for path, file := range d.files {
		b := append([]byte(nil), file.durable...)
		for _, w := range file.since {
			if w.cut {
				if d.rand.Float64() < share {
					b = w.apply(b)
				}
				continue
			}
			for from := 0; from < len(w.data); {
				to := min(len(w.data), from+sector-int((w.offset+int64(from))%sector))
				if d.rand.Float64() < share {
					b = diskWrite{offset: w.offset + int64(from), data: w.data[from:to]}.apply(b)
				}
				from = to
			}
		}
		if err := os.WriteFile(filepath.Join(to, filepath.Base(path)), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	copyFile(t, filepath.Join(d.folder, lockName), filepath.Join(to, lockName))
	return to
}

// kill makes a folder of what a kill of the process now would leave: all that was written.
func (d *disk) kill(t testing.TB) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	to := t.TempDir()
	for _, name := range []string{fileName, walName, lockName} {
		copyFile(t, filepath.Join(d.folder, name), filepath.Join(to, name))
	}
	return to
}

// copyFile copies a file that may be absent. It may not be one whose locks this
// process holds.
func copyFile(t testing.TB, from, to string) {
	b, err := os.ReadFile(from)
	if errors.Is(err, os.ErrNotExist) {
		return
	} else if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
