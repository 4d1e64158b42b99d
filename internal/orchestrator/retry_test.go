package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDecideRetry(t *testing.T) {
	three := []document{{Path: "a"}, {Path: "b"}, {Path: "c"}}
	missing := &unreadableError{path: "b", err: &fs.PathError{Op: "open", Path: "b", Err: fs.ErrNotExist}}
	tests := []struct {
		name     string
		attempt  int
		ds       []document
		failure  error
		choice   string
		leaveOut []string
		moreTime bool
	}{
		{"one of three is missing", 1, three, errors.Join(missing), choiceLeaveOut, []string{"b"}, false},
		{"two are missing, deep down", 2, three, fmt.Errorf("x: %w", errors.Join(missing, &unreadableError{path: "c", err: fs.ErrPermission})), choiceGiveUp, nil, false},
		{"the only one is missing", 1, []document{{Path: "b"}}, missing, choiceGiveUp, nil, false},
		{"late", 1, three, &lateError{allowed: time.Second, done: 0.5}, choiceMoreTime, nil, true},
		{"late again", 2, three, &lateError{allowed: time.Second, done: 0.5}, choiceMoreTime, nil, true},
		{"late for the last time", 3, three, &lateError{allowed: time.Second, done: 0.5}, choiceGiveUp, nil, false},
		{"refused", 1, three, &refusedError{"0 of 2"}, choiceGiveUp, nil, false},
		{"anything else", 1, three, errors.New("the network is down"), choiceAgain, nil, false},
		{"anything else again and again", 3, three, errors.New("the network is down"), choiceGiveUp, nil, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := decideRetry(t.Context(), workItem{}, test.attempt, test.ds, test.failure, 0.5)
			if r.choice != test.choice || r.again != (test.choice != choiceGiveUp) || (r.allowed > time.Second) != test.moreTime {
				t.Errorf("decided to %q (again %v, in %s), want %q", r.choice, r.again, r.allowed, test.choice)
			}
			if diff := cmp.Diff(test.leaveOut, r.leaveOut); diff != "" {
				t.Errorf("left out (-want +got):\n%s", diff)
			}
			if r.confidence <= 0.5 || r.confidence > 1 {
				t.Errorf("confidence is %.2f", r.confidence)
			}
			if want := firstWait * 3 / 2 << (test.attempt - 1); r.backoff != want {
				t.Errorf("backoff is %s, want %s", r.backoff, want)
			}
		})
	}
}

func TestErrorTypes(t *testing.T) {
	unreadable := &unreadableError{path: "b", err: &fs.PathError{Op: "open", Path: "b", Err: fs.ErrNotExist}}
	if got := unreadable.ErrorType(); got != "file does not exist" {
		t.Errorf("error type is %q", got)
	}
	if !errors.Is(unreadable, fs.ErrNotExist) || !errors.Is(&lateError{}, context.DeadlineExceeded) || !errors.Is(errStopped, context.Canceled) {
		t.Error("an error does not wrap its cause")
	}
}
