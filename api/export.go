package api

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/midspan/midspan/activity"
)

const (
	exportChunk = 64 << 10 // bytes gathered before they are written
	// exportWait is how long a client may take for one chunk.
	exportWait = 30 * time.Second
)

// encoding is a format of an export. It appends to the buffer; after the
// activity of one call is nothing kept but what the format needs.
type encoding interface {
	contentType() string
	extension() string
	begin(b []byte, at activity.Position) []byte
	activity(b []byte, act *activity.Activity) []byte
	end(b []byte) []byte
}

// export streams everything that the filter selects, in memory that does not
// grow with it.
func (a *API) export(w http.ResponseWriter, r *http.Request) error {
	p := a.params(r)
	f := p.filter()
	enc := a.encodingOf(p)
	if err := p.finish(); err != nil {
		return err
	}
	leave, err := a.heavy(r.Context(), 0)
	if err != nil {
		return err
	}
	defer leave()
	head := a.cfg.Reader.Head()
	h := w.Header()
	h.Set("Content-Type", enc.contentType())
	h.Set("Content-Disposition", `attachment; filename="midspan-`+time.Now().UTC().Format("20060102-150405")+enc.extension()+`"`)
	h.Set("Vary", "Accept-Encoding")
	out := &exporter{w: w, ctrl: http.NewResponseController(w)}
	if acceptsGzip(r) {
		h.Set("Content-Encoding", "gzip")
		// Fast: the line is more often the machine's own than a slow one.
		out.zip, _ = gzip.NewWriterLevel(w, gzip.BestSpeed)
	}
	if r.Method == http.MethodHead {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	if err := out.all(r.Context(), a.cfg.Reader, &f, enc, head); err != nil {
		if !out.written {
			h.Del("Content-Encoding")
			return err
		}
		if r.Context().Err() == nil {
			a.cfg.Logger.WarnContext(r.Context(), "api: export broken off", "error", err)
		}
		// The only way left to tell the client that this is not all.
		panic(http.ErrAbortHandler)
	}
	return nil
}

func (a *API) encodingOf(p *params) encoding {
	format, ok := p.one("format")
	if !ok {
		format = "json"
	}
	switch format {
	case "json":
		return &jsonEncoding{api: a}
	case "ndjson":
		return &ndjsonEncoding{api: a}
	case "csv":
		return &csvEncoding{api: a}
	case "otlp":
		return &otlpEncoding{}
	}
	p.fail(invalid("format", "%q is not one of json, ndjson, csv, otlp", clip(format)))
	return nil
}

type exporter struct {
	w       http.ResponseWriter
	ctrl    *http.ResponseController
	zip     *gzip.Writer
	written bool
}

func (e *exporter) all(ctx context.Context, reader Reader, f *activity.Filter, enc encoding, head activity.Position) error {
	b := enc.begin(make([]byte, 0, exportChunk+exportChunk/4), head)
	err := reader.Scan(ctx, f, func(act *activity.Activity) error {
		b = enc.activity(b, act)
		if len(b) < exportChunk {
			return nil
		}
		err := e.write(b)
		b = b[:0]
		return err
	})
	if errors.Is(err, activity.ErrUnreadable) { // all the rest, before it is broken off
		failed := e.write(b)
		if e.zip != nil {
			failed = errors.Join(failed, e.zip.Flush())
		}
		return errors.Join(err, failed, e.ctrl.Flush())
	}
	if err != nil {
		return err
	}
	if err := e.write(enc.end(b)); err != nil {
		return err
	}
	if e.zip != nil {
		return e.zip.Close()
	}
	return nil
}

func (e *exporter) write(b []byte) error {
	_ = e.ctrl.SetWriteDeadline(time.Now().Add(exportWait))
	e.written = true
	var w io.Writer = e.w
	if e.zip != nil {
		w = e.zip
	}
	_, err := w.Write(b)
	return err
}

type jsonEncoding struct {
	api   *API
	at    activity.Position
	comma bool
}

func (*jsonEncoding) contentType() string { return "application/json" }
func (*jsonEncoding) extension() string   { return ".json" }

func (e *jsonEncoding) begin(b []byte, at activity.Position) []byte {
	e.at = at
	return append(b, `{"activities":[`...)
}

func (e *jsonEncoding) activity(b []byte, act *activity.Activity) []byte {
	if e.comma {
		b = append(b, ',')
	}
	e.comma = true
	return e.api.appendActivity(append(b, '\n'), act, false)
}

func (e *jsonEncoding) end(b []byte) []byte {
	b = append(b, "\n],"...)
	return append(appendPosition(b, e.at), "}\n"...)
}

type ndjsonEncoding struct{ api *API }

func (*ndjsonEncoding) contentType() string { return "application/x-ndjson" }
func (*ndjsonEncoding) extension() string   { return ".ndjson" }

func (*ndjsonEncoding) begin(b []byte, _ activity.Position) []byte { return b }

func (e *ndjsonEncoding) activity(b []byte, act *activity.Activity) []byte {
	return append(e.api.appendActivity(b, act, false), '\n')
}

func (*ndjsonEncoding) end(b []byte) []byte { return b }
