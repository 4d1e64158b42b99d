// Package history keeps in a database what an index has no room for in memory,
// and what the index needs to go on after a restart.
//
//	events ─▶ log ─▶ index ──checkpoint──▶ history: segments, state
//	           ▲       ▲ └──── parts of segments ◀──┘
//	           └─ Trim │ start: state, then the events behind it
//
// A checkpoint holds everything up to a sequence of the log: the finished
// activities by segments, each part of one a blob of its own, and the rest as
// one state. The log can let go of the events up to there. docs/format.md draws
// the tables.
package history
