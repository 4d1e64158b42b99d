package orchestrator

import "context"

// kind says what is to be done with documents.
type kind string

const (
	kindInventory kind = "inventory" // walk and hash
	kindOutline   kind = "outline"   // parse, check links
	kindBundle    kind = "bundle"    // compress
	kindIndex     kind = "index"     // build a text index
)

var kinds = []kind{kindInventory, kindOutline, kindBundle, kindIndex}

// verb begins the names of the activities that do it.
func (k kind) verb() string {
	switch k {
	case kindInventory:
		return "Inventory"
	case kindOutline:
		return "Outline"
	case kindBundle:
		return "Bundle"
	}
	return "Index"
}

// task does one kind of work on documents.
type task interface {
	// document works on one document and says what came of it. It is called
	// from several goroutines at once.
	document(ctx context.Context, d document, text []byte) (did string, err error)
	// finish puts together what came of the documents. It returns what was done
	// and a result for whoever wants figures.
	finish() (did string, result any)
	// check proves the finished work against the documents.
	check(ctx context.Context) ([]check, error)
}

// check is one proof of a finished work.
type check struct {
	what   string
	passed bool
}

func (o *orchestrator) newTask(k kind, s *shelf, ds []document) task {
	switch k {
	case kindInventory:
		return &inventory{shelf: s, documents: ds, hashes: map[string]digest{}}
	case kindOutline:
		return &outline{shelf: s, documents: ds, found: map[string]headings{}}
	case kindBundle:
		return &bundle{shelf: s, codec: o.codec, packed: map[string]packed{}}
	}
	return &indexing{shelf: s, documents: ds, index: newTextIndex()}
}

// extent tells work on a whole project from work on a few documents in the
// names of activities: the two take so different times that they can't be
// compared.
func extent(whole bool) string {
	if whole {
		return "all"
	}
	return "some"
}

// each says what is done with one document.
func (k kind) each() string {
	switch k {
	case kindInventory:
		return "Hash"
	case kindOutline:
		return "Parse"
	case kindBundle:
		return "Compress"
	}
	return "Index"
}
