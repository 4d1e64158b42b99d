package orchestrator

import (
	"sync"
	"time"
)

// speed learns how long a kind of work takes, so that runs get a deadline that
// means something.
type speed struct {
	mu      sync.Mutex // guards perByte
	perByte map[kind]float64
}

const (
	// firstGuess is how long a byte takes as long as nothing is known: 5 MB/s.
	firstGuess = 200.0 // nanoseconds
	// patience is how often the usual time a run may take.
	patience = 20
	// leastTime is what every run gets that is not urgent: a machine that does
	// other things too can be late by this much for no reason of the work.
	leastTime = 2 * time.Second
	// leastUrgent is a time in which a thread can just start its tasks.
	leastUrgent = time.Millisecond
	urgent      = 5 // the priority that is done in half the usual time, or fails
)

// allow returns how much time a run gets.
func (s *speed) allow(k kind, bytes int64, priority int) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	perByte, ok := s.perByte[k]
	if !ok {
		perByte = firstGuess
	}
	usual := time.Duration(perByte * float64(bytes))
	if priority >= urgent {
		return max(usual/2, leastUrgent)
	}
	return max(usual*patience, leastTime)
}

// learn notes how long a run took.
func (s *speed) learn(k kind, bytes int64, took time.Duration) {
	if bytes == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	perByte := float64(took) / float64(bytes)
	if old, ok := s.perByte[k]; ok {
		perByte = 0.8*old + 0.2*perByte
	}
	s.perByte[k] = perByte
}
