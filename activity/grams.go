package activity

// EachGram calls fn with a hash of each run of 4 and of 8 printable ASCII
// characters of s, in lower case. A text that lacks one of a term's lacks the
// term. The short ones tell words apart; the long ones tell ids apart, whose
// short ones all occur somewhere. The hashes must stay as they are: archives hold
// them.
func EachGram[T string | []byte](s T, fn func(hash uint32)) {
	var last uint64 // characters, the latest in the lowest byte
	run := 0
	for i := range len(s) {
		c := s[i]
		if c < ' ' || c > '~' {
			run = 0
			continue
		}
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		last = last<<8 | uint64(c)
		if run++; run >= 4 {
			fn(uint32(uint64(uint32(last)) * 0x9E3779B97F4A7C15 >> 40))
			if run >= 8 {
				fn(uint32(last * 0xC2B2AE3D27D4EB4F >> 40))
			}
		}
	}
}

// TermGrams returns the grams of a term in lower case: none when it is short, or
// has letters of which an ASCII one may be another case.
func TermGrams(term string) (hashes []uint32) {
	if isASCII(term) {
		EachGram(term, func(hash uint32) { hashes = append(hashes, hash) })
	}
	return hashes
}

// EachGram calls fn with the grams of all that Filter.Terms look at.
func (a *Activity) EachGram(fn func(hash uint32)) {
	for _, s := range [...]string{a.Name, a.Planned, a.Current, a.Final, a.Result} {
		EachGram(s, fn)
	}
	if e := a.Error; e != nil {
		EachGram(e.Message, fn)
		EachGram(e.Type, fn)
		EachGram(e.Stack, fn)
	}
	for i := range a.Attributes {
		if !isCoded(a.Attributes[i].Key) {
			a.Attributes[i].Value.eachGram(fn)
		}
	}
}

func (v Value) eachGram(fn func(hash uint32)) {
	switch v.kind {
	case KindString:
		EachGram(v.str, fn)
	case KindInt, KindFloat:
		var text [32]byte
		EachGram(v.AppendJSON(text[:0]), fn)
	case KindSlice:
		for _, e := range v.Slice() {
			e.eachGram(fn)
		}
	case KindMap:
		for _, e := range v.Map() {
			e.Value.eachGram(fn)
		}
	}
}
