package index

import "github.com/midspan/midspan/activity"

// OpenOf returns the open activities of the resources that fn chooses, and the
// latest time that an event of each tells. It asks fn once for each resource.
func (x *Index) OpenOf(fn func(*activity.Resource) bool) []activity.LastSeen {
	x.beforeRead()
	x.mu.RLock()
	defer x.mu.RUnlock()
	var found []activity.LastSeen
	chosen := map[*activity.Resource]bool{}
	for id, o := range x.open.All() {
		is, known := chosen[o.head.Resource]
		if !known {
			is = fn(o.head.Resource)
			chosen[o.head.Resource] = is
		}
		if is {
			found = append(found, activity.LastSeen{ID: id, At: o.head.LastSeenAt, Resource: o.head.Resource})
		}
	}
	return found
}
