package receiver

import (
	"encoding/binary"
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// maxNesting bounds the messages within messages of a request, the seven down
// to an attribute's value included: pdata's decoder calls itself for each.
// Config.MaxDepth, which counts levels of values, is less.
const maxNesting = 128

var errDeep = errors.New("its values are nested too deep")

// errLarge says that a request that is not too long would take too much memory.
func errLarge(limit int) error {
	return fmt.Errorf("it holds more than %d values, a span or a log record counted as %d: send smaller batches", limit, itemWeight)
}

// itemWeight is what a span or a log record counts for among the values: what
// the decoder needs for an empty one.
const itemWeight = 8

// part is a kind of message, as far as it matters to how much a request holds.
type part uint8

const (
	leaf part = iota
	wholeRequest
	resourceItems
	resource
	scopeItems
	scope
	item // a span or a log record: what one calls a message is short text in the other
	eventPart
	linkPart
	keyValue
	anyValue
	arrayValue
	keyValueList
	parts
)

// inner tells what the fields of each message hold, by their numbers. Field
// 1000 of resourceItems is what scopeItems were called once.
// Source: https://github.com/open-telemetry/opentelemetry-proto, trace/v1, logs/v1 and common/v1.
var inner = [parts][16]part{
	wholeRequest:  {1: resourceItems},
	resourceItems: {1: resource, 2: scopeItems},
	resource:      {1: keyValue},
	scopeItems:    {1: scope, 2: item},
	scope:         {3: keyValue},
	item:          {5: anyValue, 6: keyValue, 9: keyValue, 11: eventPart, 13: linkPart},
	eventPart:     {3: keyValue},
	linkPart:      {4: keyValue},
	keyValue:      {2: anyValue},
	anyValue:      {5: arrayValue, 6: keyValueList},
	arrayValue:    {1: anyValue},
	keyValueList:  {1: keyValue},
}

// weights tell what each message counts for among the values of a request. An
// attribute and its value are one.
var weights = [parts]int{
	resourceItems: itemWeight, scopeItems: itemWeight, item: itemWeight, eventPart: 2, linkPart: 2, keyValue: 1, arrayValue: 1, keyValueList: 1,
}

// survey looks through a request before it is decoded, since pdata's decoder has
// no limits: a few megabytes can nest deep enough to take its stack, or hold
// empty messages enough to take its memory many times over.
type survey struct {
	values, limit int
}

func (s *survey) protobuf(b []byte) error { return s.message(b, wholeRequest, 0) }

// message returns errDeep or errLarge. It leaves every other fault to the
// decoder.
func (s *survey) message(b []byte, p part, depth int) error {
	if depth > maxNesting {
		return errDeep
	}
	for len(b) > 0 {
		number, wire, value, rest := field(b)
		if rest == nil {
			return nil
		}
		b = rest
		if wire != protowire.BytesType {
			continue
		}
		within := innerOf(p, number)
		if within == leaf {
			continue
		}
		if s.values += weights[within]; p == arrayValue {
			s.values++ // its elements have no key
		}
		if s.values > s.limit {
			return errLarge(s.limit)
		}
		if err := s.message(value, within, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func innerOf(p part, number protowire.Number) part {
	if number < protowire.Number(len(inner[p])) {
		return inner[p][number]
	}
	if p == resourceItems && number == 1000 {
		return scopeItems
	}
	return leaf
}

// field returns the first field of a message, and what comes behind it: nil
// when the field is broken. The value is set for bytes alone.
func field(b []byte) (number protowire.Number, wire protowire.Type, value, rest []byte) {
	tag, n := binary.Uvarint(b)
	if n <= 0 || tag>>3 == 0 || tag>>3 > uint64(protowire.MaxValidNumber) {
		return 0, 0, nil, nil
	}
	b = b[n:]
	number, wire = protowire.Number(tag>>3), protowire.Type(tag&7)
	if wire == protowire.BytesType {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return 0, 0, nil, nil
		}
		end := n + int(size)
		return number, wire, b[n:end:end], b[end:]
	}
	if n = protowire.ConsumeFieldValue(number, wire, b); n < 0 {
		return 0, 0, nil, nil
	}
	return number, wire, nil, b[n:]
}

// scrub returns a request without the spans or log records that keep turns
// down, or false for bytes that are no message.
func scrub(b []byte, p part, keep func(item []byte) bool) ([]byte, bool) {
	out := make([]byte, 0, len(b))
	for len(b) > 0 {
		number, wire, value, rest := field(b)
		if rest == nil {
			return nil, false
		}
		raw := b[:len(b)-len(rest)]
		b = rest
		within := leaf
		if wire == protowire.BytesType {
			within = innerOf(p, number)
		}
		switch within {
		case resourceItems, scopeItems:
			kept, ok := scrub(value, within, keep)
			if !ok {
				return nil, false
			}
			out = protowire.AppendTag(out, number, wire)
			out = protowire.AppendBytes(out, kept)
		case item:
			if keep(value) {
				out = append(out, raw...)
			}
		default:
			out = append(out, raw...)
		}
	}
	return out, true
}

// alone returns a request with nothing but a span or log record.
func alone(item []byte) []byte {
	for _, number := range []protowire.Number{2, 2, 1} {
		item = protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), item)
	}
	return item
}
