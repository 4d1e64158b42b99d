// Package orchestrator is the system that midspan demo shows: a small
// orchestrator that looks after libraries of documents. What it does is real.
// Its parts are tracked as any user of Midspan would track theirs, with the
// public packages and plain OpenTelemetry instrumentation.
//
// A [requirement] says what a project needs: an inventory, an outline, a bundle
// or an index of some documents. It becomes a work item, and every attempt at
// that is a run:
//
//	planner ──▶ requirement ──▶ scheduler ──▶ work item ──▶ lane ──▶ agent ──▶ reviewer
//	   │ asks a model               │ ticks       │ HTTP API          │ thread, background tasks
//	   └──────────────── all of it is kept in SQLite ────────────────┘
//
// Each work item is a tree of activities. Its root is planned when the
// scheduler makes it, waits in a lane, and starts when an agent claims it:
//
//	Bundle handbook                            work_item, planned first
//	├─ POST /work-items                        api_call
//	│  └─ POST /work-items                     the server's span, over the network
//	│     └─ INSERT work_items, …              database_operation
//	└─ Attempt to bundle                       agent_action
//	   ├─ POST /work-items/{id}/approval       api_call
//	   │  └─ … Approve run                     decision
//	   ├─ Bundle documents                     thread
//	   │  └─ Compress document                 async_task
//	   └─ Review result ─ Accept result        agent_action, decision
//
// A run that fails is followed by a decision about a retry, which is planned at
// once and waits for its backoff. A work item on the whole of a project takes
// long; a more urgent one of the same kind supersedes it.
//
// Nothing waits in place of work. Two things are paced: how many work items are
// made in a second ([Config.Rate]), and how many documents a second a long work
// may read ([Config.Pace]).
package orchestrator
