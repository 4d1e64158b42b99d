package sqlite

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/internal/eventlog"
	"github.com/midspan/midspan/internal/eventlog/eventlogtest"
)

// scale is how often a proof runs: often enough to find what breaks in go test,
// and as often as the environment says for make soak.
func scale(t *testing.T, variable string, usual int) int {
	text := os.Getenv(variable)
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

// seed is where the numbers of a proof come from: MIDSPAN_SEED, or the clock.
func seed(t *testing.T) uint64 {
	n := scale(t, "MIDSPAN_SEED", int(time.Now().UnixNano()))
	t.Logf("MIDSPAN_SEED=%d", n)
	return uint64(n)
}

// journal is what a client knows of its events: it writes down that it sends
// before it sends, and what the answer was.
type journal struct {
	mu           sync.Mutex // guards everything below
	acknowledged map[string]bool
	refused      map[string]bool // none of them may be there
}

func newJournal() *journal {
	return &journal{acknowledged: map[string]bool{}, refused: map[string]bool{}}
}

// client appends batches of one source, until told to stop or something else
// than a refusal comes. Each batch is of events that no other has.
func (j *journal) client(l eventlog.Log, source string, batches, perBatch int) error {
	for i := range batches {
		if err := j.append(l, eventlogtest.Events(source, i*perBatch, perBatch)); err != nil && !errors.Is(err, eventlog.ErrUnavailable) {
			return err
		}
	}
	return nil
}

func (j *journal) append(l eventlog.Log, events []activity.Event) error {
	err := l.Append(context.Background(), events)
	j.mu.Lock()
	defer j.mu.Unlock()
	for i := range events {
		switch {
		case err == nil:
			j.acknowledged[events[i].Name] = true
		case errors.Is(err, eventlog.ErrUnavailable):
			j.refused[events[i].Name] = true
		}
	}
	return err
}

// check opens a folder and holds what is there to the journal.
func (j *journal) check(t *testing.T, folder string) {
	t.Helper()
	j.fsck(t, folder)
	l, err := Open(context.Background(), Config{Folder: folder, Logger: quiet})
	if err != nil {
		t.Error(err)
		return
	}
	defer l.Close()
	j.checkLog(t, l)
	if err := l.Verify(context.Background()); err != nil {
		t.Error(err)
	}
}

// fsck holds that midspan fsck, which opens the log so, finds nothing wrong in
// what a process has left, and changes nothing.
func (j *journal) fsck(t *testing.T, folder string) {
	t.Helper()
	before := contents(t, folder)
	if len(before[0]) == 0 {
		return // it died before there was a log
	}
	l, err := Inspect(context.Background(), folder)
	if err != nil {
		if len(j.acknowledged) > 0 {
			t.Errorf("fsck: %v", err)
		}
		return
	}
	defer l.Close()
	if err := l.Check(context.Background(), func(damage error) bool {
		t.Errorf("fsck: %v", damage)
		return true
	}); err != nil {
		t.Errorf("fsck: %v", err)
	}
	if after := contents(t, folder); !bytes.Equal(before[0], after[0]) || !bytes.Equal(before[1], after[1]) {
		t.Error("fsck has changed the files")
	}
}

func (j *journal) checkLog(t *testing.T, l *Log) {
	t.Helper()
	lost, problems := j.compare(t, l)
	for _, problem := range problems {
		t.Error(problem)
	}
	if lost > 0 {
		t.Errorf("%d of %d acknowledged events are lost", lost, len(j.acknowledged))
	}
}

// compare returns how many acknowledged events are not there, and what else is wrong.
func (j *journal) compare(t *testing.T, l *Log) (lost int, problems []string) {
	t.Helper()
	floor, _ := l.Bounds()
	seen := map[string]bool{}
	last := map[string]uint32{}
	for _, e := range eventlogtest.All(t, l, floor, 1000) {
		if seen[e.Name] {
			problems = append(problems, e.Name+" is there twice")
		}
		seen[e.Name] = true
		if before, ok := last[e.Resource.Service]; ok && e.Rev <= before {
			problems = append(problems, fmt.Sprintf("%s comes after number %d", e.Name, before))
		}
		last[e.Resource.Service] = e.Rev
		if j.refused[e.Name] {
			problems = append(problems, e.Name+" is there, and was refused")
		}
	}
	for name := range j.acknowledged {
		if !seen[name] {
			lost++
		}
	}
	return lost, problems
}

func onDisk(d *disk) Config {
	return Config{Folder: d.folder, Logger: quiet, vfs: diskName, retry: time.Millisecond, walGrown: 256 << 10}
}

// TestFaults has one write, sync or truncation after the other fail while two
// clients append, cursors are set and the log is trimmed: for once, for some
// time, or until it is healed; with nothing of it done, a part, or all.
func TestFaults(t *testing.T) {
	points := scale(t, "MIDSPAN_FAULTS", 30)
	s := seed(t)
	hit := 0
	for point := range points {
		hit += faultPoint(t, s, point)
		if t.Failed() {
			t.Fatalf("MIDSPAN_SEED=%d, point %d", s, point)
		}
	}
	t.Logf("%d points, %d operations failed", points, hit)
	if hit < points/2 {
		t.Errorf("only %d operations failed at %d points", hit, points)
	}
}

func faultPoint(t *testing.T, seed uint64, point int) (hit int) {
	r := rand.New(rand.NewPCG(seed, uint64(point)))
	d := newDisk(t, r.Uint64())
	from := 1 + r.IntN(120)
	until := from + []int{1, 1, 3, 20, 1 << 30}[r.IntN(5)]
	done := []float64{0, 0, 0.5, 1}[r.IntN(4)]
	full, readOnly := r.IntN(2) == 0, r.IntN(6) == 0
	kind := []string{"", "write", "sync"}[r.IntN(3)]
	d.fault = func(op int, is string) (fault, bool) {
		if op < from || op >= until || kind != "" && kind != is {
			return fault{}, false
		}
		switch {
		case readOnly && is == "write":
			return fault{code: sqlite3.SQLITE_READONLY}, true
		case full && is == "write":
			return fault{sqlite3.SQLITE_FULL, done}, true
		}
		return fault{map[string]int32{
			"write": sqlite3.SQLITE_IOERR_WRITE, "sync": sqlite3.SQLITE_IOERR_FSYNC, "truncate": sqlite3.SQLITE_IOERR_TRUNCATE,
		}[is], done}, true
	}
	level := []eventlog.Level{eventlog.Disk, eventlog.Disk, eventlog.Memory}[r.IntN(3)]
	cfg := onDisk(d)
	cfg.Level = level
	j := newJournal()
	l, err := Open(t.Context(), cfg)
	if err == nil {
		var wg sync.WaitGroup
		for _, source := range []string{"a", "b"} {
			wg.Go(func() {
				// Errors that leave it open are none of the journal's business.
				_ = j.client(l, source, 12, 20)
			})
		}
		wg.Go(func() {
			for i := range 5 {
				_ = l.SetCursor(context.Background(), "c", uint64(i))
				_ = l.Trim(context.Background(), 0)
			}
		})
		wg.Wait()
		if level == eventlog.Disk {
			j.check(t, d.kill(t))
		}
		d.set(func() { hit = d.hit; d.fault = nil })
		deadline := time.Now().Add(10 * time.Second)
		for i := 1000; ; i++ { // it recovers by itself
			if err := j.append(l, eventlogtest.Events("a", 20*i, 20)); err == nil && l.Health() == nil {
				break
			} else if time.Now().After(deadline) {
				t.Errorf("still failing: %v, %v", err, l.Health())
				break
			}
			runtime.Gosched()
		}
		j.checkLog(t, l)
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	} else {
		d.set(func() { hit = d.hit; d.fault = nil }) // it was refused; it opens once the disk is well
	}
	j.check(t, d.folder)
	return hit
}

// TestRefusedStaysAway has the sync after a commit fail, once all of it was
// written, and kills the process: what was refused may not come back. It does
// when the WAL is left as it was.
func TestRefusedStaysAway(t *testing.T) {
	for _, control := range []bool{false, true} {
		d := newDisk(t, 1)
		cfg := onDisk(d)
		cfg.unsettle = control
		cfg.retry = time.Hour
		l := open(t, cfg)
		j := newJournal()
		if err := j.append(l, eventlogtest.Events("a", 0, 20)); err != nil {
			t.Fatal(err)
		}
		d.set(func() {
			d.fault = func(_ int, kind string) (fault, bool) {
				return fault{sqlite3.SQLITE_IOERR_FSYNC, 0}, kind == "sync"
			}
		})
		if err := j.append(l, eventlogtest.Events("a", 20, 20)); !errors.Is(err, eventlog.ErrUnavailable) {
			t.Fatal(err)
		}
		if err := l.Health(); err == nil || !strings.Contains(err.Error(), fileName) {
			t.Errorf("health: %v", err)
		}
		after := open(t, Config{Folder: d.kill(t)})
		lost, problems := j.compare(t, after)
		if lost > 0 || !control && len(problems) > 0 {
			t.Errorf("%d lost, %v", lost, problems)
		}
		if control && len(problems) != 20 {
			t.Errorf("the control finds nothing wrong: the test proves nothing")
		}
	}
}

// TestPowerCut cuts the power at any operation while four clients append. With
// synchronous=NORMAL instead of FULL the same test loses: that it can fail is the
// proof of what it shows.
func TestPowerCut(t *testing.T) {
	cuts := scale(t, "MIDSPAN_CUTS", 5)
	s := seed(t)
	acknowledged := 0
	run := func(cut int, unsafe bool) (lost bool) {
		r := rand.New(rand.NewPCG(s, uint64(cut)))
		d := newDisk(t, r.Uint64())
		d.cutAt = 60 + r.IntN(600)
		cfg := onDisk(d)
		cfg.unsafe = unsafe
		if unsafe || r.IntN(2) == 0 {
			cfg.walGrown = 0 // the usual
		}
		l, err := Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		j := newJournal()
		var wg sync.WaitGroup
		for g := range 4 {
			wg.Go(func() {
				for i := 0; j.append(l, eventlogtest.Events(fmt.Sprint(g), 50*i, 50)) == nil; i++ {
				}
			})
		}
		wg.Wait()
		j.refused = nil // what the power cut has refused may be there
		to := d.powerCut(t)
		_ = l.Close() // its disk is dead
		if !unsafe {
			acknowledged += len(j.acknowledged)
			j.check(t, to)
			return false
		}
		if err := os.Remove(filepath.Join(to, lockName)); err != nil { // or it would refuse to open
			t.Fatal(err)
		}
		lossy, err := Open(t.Context(), Config{Folder: to, Logger: quiet})
		if err != nil {
			t.Logf("control: %v", err)
			return true
		}
		defer lossy.Close()
		n, _ := j.compare(t, lossy)
		return n > 0
	}
	for cut := range cuts {
		run(cut, false)
		if t.Failed() {
			t.Fatalf("MIDSPAN_SEED=%d, cut %d", s, cut)
		}
	}
	lost, controls := 0, 0
	for ; controls < max(5, cuts/10) || lost == 0 && controls < 50; controls++ {
		if run(controls, true) {
			lost++
		}
	}
	t.Logf("%d cuts, %d events acknowledged, none lost; with synchronous=NORMAL %d of %d cuts lost some", cuts, acknowledged, lost, controls)
	if lost == 0 {
		t.Error("the control lost nothing: the test proves nothing")
	}
}

// TestDamage flips bits and cuts off ends of the file and of its WAL. What is
// read then is what was written, or an error that says what is damaged.
func TestDamage(t *testing.T) {
	damages := scale(t, "MIDSPAN_DAMAGES", 50)
	s := seed(t)
	d := newDisk(t, s)
	cfg := onDisk(d)
	l := open(t, cfg)
	j := newJournal()
	for i := range 30 {
		if err := j.append(l, eventlogtest.Events("a", 40*i, 40)); err != nil {
			t.Fatal(err)
		}
		if i == 10 {
			if err := l.SetCursor(t.Context(), "c", 400); err != nil {
				t.Fatal(err)
			}
			if err := l.Trim(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	whole := d.kill(t)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	found, harmless := map[string]int{}, map[string]int{}
	for damage := range damages {
		r := rand.New(rand.NewPCG(s, uint64(damage)))
		folder := t.TempDir()
		for _, name := range []string{fileName, walName, lockName} {
			copyFile(t, filepath.Join(whole, name), filepath.Join(folder, name))
		}
		name := []string{fileName, walName}[damage%2]
		path := filepath.Join(folder, name)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		what := name + " flipped"
		if r.IntN(5) == 0 {
			what = name + " cut"
			b = b[:r.IntN(len(b))]
		} else {
			for range 1 + r.IntN(3) {
				b[r.IntN(len(b))] ^= 1 << r.IntN(8)
			}
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if damaged(t, folder, j) {
			found[what]++
		} else {
			harmless[what]++
		}
		if err := os.RemoveAll(folder); err != nil { // 10,000 of them are much
			t.Fatal(err)
		}
		if t.Failed() {
			t.Fatalf("MIDSPAN_SEED=%d, damage %d: %s", s, damage, what)
		}
	}
	t.Logf("%d damages: found %v, harmless %v", damages, found, harmless)
}

// damaged reads everything of a folder, and reports whether damage was found.
func damaged(t *testing.T, folder string, j *journal) bool {
	l, err := Open(t.Context(), Config{Folder: folder, Logger: quiet})
	if err != nil {
		if !strings.Contains(err.Error(), fileName) {
			t.Errorf("the error does not name the file: %v", err)
		}
		return true
	}
	defer l.Close()
	events := 0
	for after := uint64(0); ; {
		read, err := l.Read(t.Context(), after, 100)
		if err != nil {
			if !errors.Is(err, eventlog.ErrCorrupt) && !errors.Is(err, activity.ErrGap) {
				t.Errorf("read: %v", err)
			}
			return true
		}
		if len(read) == 0 {
			break
		}
		for i := range read {
			if want := fmt.Sprintf("a %d", events); read[i].Name != want {
				t.Errorf("read %q in place of %q", read[i].Name, want)
			}
			events++
		}
		after = read[len(read)-1].Seq
	}
	if seq, ok, err := l.Cursor(t.Context(), "c"); err != nil {
		return true
	} else if ok && seq != 400 {
		t.Errorf("the cursor is %d", seq)
	}
	if err := l.Verify(t.Context()); err != nil {
		return true
	}
	if events != len(j.acknowledged) {
		t.Errorf("%d events of %d, and no error", events, len(j.acknowledged))
	}
	return false
}

// killChild names the folder that a child process appends to.
const killChild = "MIDSPAN_TEST_APPEND_TO"

// appendUntilKilled is the child: it tells on standard output what was acknowledged.
func appendUntilKilled(folder string) {
	l, err := Open(context.Background(), Config{Folder: folder, Logger: quiet})
	if err != nil {
		fmt.Println("error:", err)
		return
	}
	_, last := l.Bounds()
	fmt.Println("open at", last)
	var mu sync.Mutex
	for g := range 3 {
		go func() {
			for i := 0; ; i++ {
				source := fmt.Sprintf("%d-%d", last, g)
				err := l.Append(context.Background(), eventlogtest.Events(source, 20*i, 20))
				mu.Lock()
				if err != nil {
					fmt.Println("error:", err)
				} else {
					fmt.Println("acknowledged", source, 20*i)
				}
				mu.Unlock()
			}
		}()
	}
	_, _ = io.Copy(io.Discard, os.Stdin) // the parent's death ends it too
}

// TestKill kills a process that appends, again and again.
func TestKill(t *testing.T) {
	kills := scale(t, "MIDSPAN_KILLS", 5)
	r := rand.New(rand.NewPCG(seed(t), 0))
	folder := t.TempDir()
	j := newJournal()
	for kill := range kills {
		command := exec.CommandContext(t.Context(), os.Args[0])
		command.Env = append(os.Environ(), killChild+"="+folder)
		stdin, err := command.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		stdout, err := command.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(stdout)
		killAfter := 1 + r.IntN(30)
		for n := 0; lines.Scan(); {
			var source string
			var first int
			if _, err := fmt.Sscanf(lines.Text(), "acknowledged %s %d", &source, &first); err == nil {
				for _, e := range eventlogtest.Events(source, first, 20) {
					j.acknowledged[e.Name] = true
				}
				if n++; n == killAfter {
					if err := command.Process.Kill(); err != nil {
						t.Fatal(err)
					}
				}
			} else if strings.HasPrefix(lines.Text(), "error:") {
				t.Errorf("kill %d: %s", kill, lines.Text())
			}
		}
		stdin.Close()
		_ = command.Wait()
		if kill%10 == 9 || kill == kills-1 {
			j.check(t, folder)
		}
		if t.Failed() {
			t.Fatalf("kill %d of %d", kill, kills)
		}
	}
	t.Logf("%d kills, %d events acknowledged, none lost", kills, len(j.acknowledged))
}
