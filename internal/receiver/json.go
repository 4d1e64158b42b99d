package receiver

import (
	"encoding/json"
	"slices"
)

// maxBrackets is maxNesting in JSON, where a value in an array takes three.
const maxBrackets = 3 * maxNesting

// itemDepth is how many brackets are open where a span or a log record stands.
const itemDepth = 7

// json is protobuf for a request in JSON.
func (s *survey) json(b []byte) error {
	depth, quoted := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > maxBrackets {
				return errDeep
			}
			if c == '{' {
				if s.values++; depth <= itemDepth {
					s.values += itemWeight - 1
				}
				if s.values > 2*s.limit { // an attribute takes two
					return errLarge(s.limit)
				}
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

// scrubJSON is scrub for JSON. Each list names the field that leads one level
// down; the last one holds the items.
func scrubJSON(b []byte, path []string, keep func(item []byte) bool) ([]byte, bool) {
	var object map[string]json.RawMessage
	if json.Unmarshal(b, &object) != nil {
		return nil, false
	}
	field, there := object[path[0]]
	if !there {
		return b, true
	}
	var list []json.RawMessage
	if json.Unmarshal(field, &list) != nil {
		return nil, false
	}
	kept := list[:0]
	for _, element := range list {
		if len(path) == 1 {
			if keep(element) {
				kept = append(kept, element)
			}
			continue
		}
		inner, ok := scrubJSON(element, path[1:], keep)
		if !ok {
			return nil, false
		}
		kept = append(kept, inner)
	}
	var err error
	if object[path[0]], err = json.Marshal(kept); err != nil {
		return nil, false
	}
	b, err = json.Marshal(object)
	return b, err == nil
}

// aloneJSON is alone for JSON.
func aloneJSON(item []byte, path []string) []byte {
	for _, field := range slices.Backward(path) {
		item = []byte(`{"` + field + `":[` + string(item) + `]}`)
	}
	return item
}
