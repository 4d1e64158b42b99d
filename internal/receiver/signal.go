package receiver

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc/codes"
)

// The signals, by number.
const (
	traces = iota
	logs
	signals
)

// signal is a kind of request.
type signal struct {
	number  int
	path    string   // by HTTP
	service string   // by gRPC
	item    string   // what it holds, in words
	fields  []string // in JSON, down to its items
	// decode returns what adds the request's events to a batch.
	decode func(body []byte, isJSON bool) (func(*batch), error)
	answer func(rejected int64, why string) message
}

// message is what both signals' answers can do.
type message interface {
	MarshalProto() ([]byte, error)
	MarshalJSON() ([]byte, error)
}

var served = [signals]*signal{
	traces: {
		number: traces, path: "/v1/traces", service: "opentelemetry.proto.collector.trace.v1.TraceService",
		item: "span", fields: []string{"resourceSpans", "scopeSpans", "spans"},
		decode: func(body []byte, isJSON bool) (func(*batch), error) {
			req := ptraceotlp.NewExportRequest()
			err := unmarshal(req, body, isJSON)
			return func(b *batch) { b.traces(req.Traces()) }, err
		},
		answer: func(rejected int64, why string) message {
			resp := ptraceotlp.NewExportResponse()
			if rejected > 0 {
				resp.PartialSuccess().SetRejectedSpans(rejected)
				resp.PartialSuccess().SetErrorMessage(why)
			}
			return resp
		},
	},
	logs: {
		number: logs, path: "/v1/logs", service: "opentelemetry.proto.collector.logs.v1.LogsService",
		item: "log record", fields: []string{"resourceLogs", "scopeLogs", "logRecords"},
		decode: func(body []byte, isJSON bool) (func(*batch), error) {
			req := plogotlp.NewExportRequest()
			err := unmarshal(req, body, isJSON)
			return func(b *batch) { b.logs(req.Logs()) }, err
		},
		answer: func(rejected int64, why string) message {
			resp := plogotlp.NewExportResponse()
			if rejected > 0 {
				resp.PartialSuccess().SetRejectedLogRecords(rejected)
				resp.PartialSuccess().SetErrorMessage(why)
			}
			return resp
		},
	},
}

func unmarshal(req interface {
	UnmarshalProto([]byte) error
	UnmarshalJSON([]byte) error
}, body []byte, isJSON bool) error {
	if isJSON {
		return req.UnmarshalJSON(body)
	}
	return req.UnmarshalProto(body)
}

// load adds the events of a request. An item that does not decode is rejected
// alone: pdata has a whole request fail by one id of a wrong length.
func (b *batch) load(s *signal, body []byte, isJSON bool) *failure {
	look := b.survey()
	check := look.protobuf
	if isJSON {
		check = look.json
	}
	switch err := check(body); {
	case err == nil:
	case errors.Is(err, errDeep):
		b.r.tooDeep.Add(1)
		return &failure{code: codes.InvalidArgument, http: http.StatusBadRequest, text: "the request is refused: " + err.Error()}
	default:
		b.r.tooMany.Add(1)
		return &failure{code: codes.ResourceExhausted, http: http.StatusRequestEntityTooLarge, text: "the request is too large: " + err.Error()}
	}
	add, err := s.decode(body, isJSON)
	if err != nil {
		broken := int64(0)
		keep := func(item, one []byte) bool {
			if _, err := s.decode(one, isJSON); err != nil {
				broken++
				field := ""
				if isJSON {
					field = s.wrongField(item)
				}
				b.reject("it is no OTLP " + s.item + ": " + field + b.r.reasonOf(err))
				return false
			}
			return true
		}
		var rest []byte
		var ok bool
		if isJSON {
			rest, ok = scrubJSON(body, s.fields, func(item []byte) bool { return keep(item, aloneJSON(item, s.fields)) })
		} else {
			rest, ok = scrub(body, wholeRequest, func(item []byte) bool { return keep(nil, alone(item)) })
		}
		if ok && broken > 0 {
			var again error
			if add, again = s.decode(rest, isJSON); again == nil {
				err = nil
			}
		}
	}
	if err != nil {
		return &failure{code: codes.InvalidArgument, http: http.StatusBadRequest, text: "the body is no OTLP request: " + b.r.reasonOf(err)}
	}
	if isJSON {
		if other := s.otherJSON(body); other != "" {
			return &failure{
				code: codes.InvalidArgument, http: http.StatusBadRequest,
				text: "the body holds " + other + ", and " + s.path + " takes " + s.fields[0],
			}
		}
	}
	add(b)
	return nil
}

// wrongField names the field for which an item in JSON does not decode, as in
// "traceId: ", or is empty when no field alone is to blame.
func (s *signal) wrongField(item []byte) string {
	var object map[string]json.RawMessage
	if json.Unmarshal(item, &object) != nil {
		return ""
	}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		field, err := json.Marshal(map[string]json.RawMessage{name: object[name]})
		if err != nil {
			return ""
		}
		if _, err := s.decode(aloneJSON(field, s.fields), true); err != nil {
			return name + ": " // one that the decoder knows
		}
	}
	return ""
}

// otherJSON returns the name of what a body in JSON holds of another signal, when
// it holds nothing of this one: a decoder leaves out what it does not know.
func (s *signal) otherJSON(body []byte) string {
	holds := func(name string) bool { return bytes.Contains(body, []byte(`"`+name+`"`)) }
	if holds(s.fields[0]) || holds(snakeCase(s.fields[0])) {
		return ""
	}
	for _, name := range []string{"resourceSpans", "resourceLogs", "resourceMetrics"} {
		if holds(name) {
			return name
		}
	}
	return ""
}
