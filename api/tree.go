package api

import (
	"net/http"
	"strconv"

	"github.com/midspan/midspan/activity"
)

// Limits of a tree. Its nodes hold whole activities, so it has fewer than a
// page could show: what is cut tells its child_count and is asked for by root.
const (
	defaultTreeDepth = 16
	maxTreeDepth     = 128
	defaultTreeNodes = 1000
	maxTreeNodes     = 10000
)

func (a *API) tree(w http.ResponseWriter, r *http.Request) error {
	p := a.params(r)
	q := activity.TreeQuery{
		Filter: p.filter(),
		Depth:  p.integer("depth", defaultTreeDepth, 0, maxTreeDepth),
		Limit:  p.integer("limit", defaultTreeNodes, 1, maxTreeNodes),
	}
	if root, ok := p.one("root"); ok {
		q.Root = p.id("root", root)
	}
	if err := p.finish(); err != nil {
		return err
	}
	t, err := a.cfg.Reader.Tree(r.Context(), &q)
	if err != nil {
		return err
	}
	answer(w, func(b []byte) []byte {
		b = append(b, `{"roots":[`...)
		b = a.appendNodes(b, t.Roots)
		b = append(b, `],"root_count":`...)
		b = strconv.AppendInt(b, int64(t.RootCount), 10)
		b = append(b, `,"truncated":`...)
		b = strconv.AppendBool(b, t.Truncated)
		b = appendIncomplete(append(b, ','), t.Incomplete)
		return append(appendPosition(b, t.AsOf), '}')
	})
	return nil
}

func (a *API) appendNodes(b []byte, nodes []*activity.Node) []byte {
	for i, n := range nodes {
		if i > 0 {
			b = append(b, ',')
		}
		b = a.appendNodeHead(b, n)
		b = append(b, `,"children":[`...)
		b = a.appendNodes(b, n.Children)
		b = append(b, `]}`...)
	}
	return b
}

// appendNodeHead appends a node without its children and its closing brace.
func (a *API) appendNodeHead(b []byte, n *activity.Node) []byte {
	b = append(b, `{"activity":`...)
	if n.Activity == nil {
		b = append(b, "null"...)
	} else {
		b = a.appendActivity(b, n.Activity, false)
	}
	b = append(b, `,"activity_id":"`...)
	b = n.ID.Append(b)
	b = append(b, `","placeholder":`...)
	b = strconv.AppendBool(b, n.Activity == nil)
	b = append(b, `,"child_count":`...)
	return strconv.AppendInt(b, int64(n.ChildCount), 10)
}
