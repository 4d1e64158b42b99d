// Package transfer moves what a bridge keeps: out of a folder in several
// formats, and into one again.
//
// NDJSON and OTLP carry the events of each activity, so what is imported is what
// was exported, with every state that it went through. Jaeger's JSON and Chrome's
// trace format are for other programs, and only lead out. docs/data.md tells of
// each.
package transfer
