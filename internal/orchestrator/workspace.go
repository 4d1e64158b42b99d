package orchestrator

import (
	"errors"
	"os"
	"path/filepath"
)

// A workspace is a folder of temporary files. Its lock file is locked as long as
// its orchestrator lives: a process that is killed can't remove the folder, but
// the system takes its locks back, so that the next one can tell.
const (
	workspacePattern = "midspan-*"
	lockName         = "midspan.lock"
)

// openWorkspace makes a workspace, after removing those of dead orchestrators.
// Remove ends it.
func openWorkspace() (dir string, remove func() error, err error) {
	sweepWorkspaces(os.TempDir())
	if dir, err = os.MkdirTemp("", workspacePattern); err != nil {
		return "", nil, err
	}
	lock, err := lockWorkspace(dir)
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	return dir, func() error {
		err := os.RemoveAll(dir)
		if lock != nil {
			err = errors.Join(err, lock.Close())
		}
		return err
	}, nil
}

// lockWorkspace locks a workspace. The file has its name only once it is
// locked: whoever finds it unlocked knows that its orchestrator is dead. Where
// nothing can be locked it returns nil, and nobody will remove the workspace.
func lockWorkspace(dir string) (*os.File, error) {
	lock, err := os.CreateTemp(dir, "lock-*")
	if err != nil {
		return nil, err
	}
	if locked, _ := tryLock(lock); !locked {
		return nil, lock.Close()
	}
	if err := os.Rename(lock.Name(), filepath.Join(dir, lockName)); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

// sweepWorkspaces removes the workspaces of dead orchestrators that are this
// user's own. What can't be removed now may be another time.
func sweepWorkspaces(temp string) {
	dirs, _ := filepath.Glob(filepath.Join(temp, workspacePattern)) // the pattern is no bad one
	for _, dir := range dirs {
		if !own(dir) {
			continue
		}
		lock, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR, 0)
		if err != nil {
			continue // no workspace, or not yet one
		}
		if dead, err := tryLock(lock); err == nil && dead {
			_ = os.RemoveAll(dir)
		}
		_ = lock.Close()
	}
}
