// Package receiver takes OTLP from other processes and makes events of it: of
// ended spans, and of every in-flight form met in the field.
//
// A span that has ended is one event with everything that it carries. It has no
// number, so what makes it the same when it comes again is what it says: a
// batch sent twice changes nothing, and any order of arrival folds to the same
// activity.
package receiver
