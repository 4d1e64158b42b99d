package receiver

import (
	"encoding/json"
	"slices"
)

// maxBrackets is maxNesting in JSON, where a value in an array takes three.
const maxBrackets = 3 * maxNesting

// itemLists is how many brackets are open within the list of spans or log
// records; the lists of resources and scopes have two and four.
const itemLists = 6

// json is protobuf for a request in JSON. What counts are the elements of lists:
// whatever they are, the decoder makes room for them.
func (s *survey) json(b []byte) error {
	var weights [maxBrackets + 1]int // of the elements of each list that is open; 0 in an object
	depth := 0
	var text []byte // the latest: a list's name
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			from := i + 1
			for i = from; i < len(b) && b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
			text = b[from:min(i, len(b))]
		case '{', '[':
			if depth++; depth > maxBrackets {
				return errDeep
			}
			if weights[depth] = 0; b[i] == '{' {
				continue
			}
			weight := 1
			switch name := string(text); {
			case depth <= itemLists && depth%2 == 0:
				weight = itemWeight
			case name == "events" || name == "links":
				weight = 2
			case name == "values": // of an array or a map, which counts too
				s.values++
			}
			weights[depth] = weight
			if !emptyList(b[i+1:]) {
				s.values += weight
			}
		case ',':
			s.values += weights[depth]
		case '}', ']':
			depth = max(depth-1, 0)
		default:
			continue
		}
		if s.values > s.limit {
			return errLarge(s.limit)
		}
	}
	return nil
}

// emptyList reports whether a list ends where it begins.
func emptyList(b []byte) bool {
	for _, c := range b {
		switch c {
		case ' ', '\t', '\r', '\n':
		default:
			return c == ']'
		}
	}
	return true
}

// scrubJSON is scrub for JSON. The path names the fields that lead down to the
// items, each of which may be written in snake case too.
func scrubJSON(b []byte, path []string, keep func(item []byte) bool) ([]byte, bool) {
	var object map[string]json.RawMessage
	if json.Unmarshal(b, &object) != nil {
		return nil, false
	}
	for _, name := range []string{path[0], snakeCase(path[0])} {
		field, there := object[name]
		if !there {
			continue
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
		if object[name], err = json.Marshal(kept); err != nil {
			return nil, false
		}
	}
	b, err := json.Marshal(object)
	return b, err == nil
}

// snakeCase returns resource_spans for resourceSpans.
func snakeCase(name string) string {
	var b []byte
	for _, c := range []byte(name) {
		if c >= 'A' && c <= 'Z' {
			b = append(b, '_')
			c += 'a' - 'A'
		}
		b = append(b, c)
	}
	return string(b)
}

// aloneJSON is alone for JSON.
func aloneJSON(item []byte, path []string) []byte {
	for _, field := range slices.Backward(path) {
		item = []byte(`{"` + field + `":[` + string(item) + `]}`)
	}
	return item
}
