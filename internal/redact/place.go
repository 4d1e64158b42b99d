package redact

import "strings"

// What the place within a text says to be secret, whatever it looks like.

// url looks at what follows "://": a password before the host, or the address of
// a web hook, which is all that its caller needs to know.
func (sc *scanner) url(i int) int {
	s := sc.s
	from := i + len("://")
	end := from // of the authority
	for end < len(s) && table[s[end]]&space == 0 && strings.IndexByte("/?#\"'`<>\\", s[end]) < 0 {
		end++
	}
	if from == end {
		return end
	}
	authority := s[from:end]
	at := strings.LastIndexByte(authority, '@')
	colon := strings.IndexByte(authority, ':')
	if at < 0 && colon > 0 && authority[0] != '[' && strings.Trim(authority[colon+1:], "0123456789") != "" {
		// No port: a password with a slash or the like in it.
		rest := s[end:min(len(s), end+maxSeenKey)]
		if stop := strings.IndexAny(rest, " \t\r\n\"'`<>"); stop >= 0 {
			rest = rest[:stop]
		}
		if at = strings.LastIndexByte(rest, '@'); at >= 0 {
			at += len(authority)
		}
	}
	user := at
	if colon >= 0 && colon < at {
		user = colon
	}
	if user > 0 && startsToken(s, from) {
		if stop, by := token(s[:from+user], from); stop == from+user {
			sc.found(from, stop, by)
			if user == at {
				return stop
			}
		}
	}
	switch {
	case at < 0:
	case user < at:
		if password := s[from+colon+1 : from+at]; password != "" && !isPlaceholder(password) {
			return sc.found(from+colon+1, from+at, byURL)
		}
	case isRandom(authority[:at]): // a token in place of a name
		return sc.found(from, from+at, byURL)
	}
	if path, ok := strings.CutPrefix(s[end:], "/"); ok && isHook(authority, path) {
		slash := strings.IndexByte(path, '/')
		if strings.HasPrefix(path, "api/webhooks/") {
			slash = len("api/webhooks")
		}
		path = path[:min(len(path), maxRandom)]
		stop := strings.IndexAny(path, " \t\r\n\"'`<>\\")
		if stop < 0 {
			stop = len(path)
		}
		if slash < stop && hasDigit(path[slash+1:stop]) {
			return sc.found(end+1+slash+1, end+1+stop, byWebhook)
		}
	}
	return end
}

// encodedURL looks at what follows "://" in URL encoding, as in a parameter that
// holds a URL: a password before the host.
func (sc *scanner) encodedURL(i int) int {
	s := sc.s
	from := i + len("%3A%2F%2F")
	end := from // of the authority
	colon, at := -1, -1
	for end < len(s) && (table[s[end]]&(alnum|dash|dot) != 0 || strings.IndexByte("%~!*()", s[end]) >= 0) {
		if s[end] != '%' || end+2 >= len(s) {
			end++
			continue
		}
		code := s[end+1 : end+3]
		if isOneOf(code, "2F", "3F", "23", "20", "22", "27") {
			break
		}
		switch {
		case code == "40":
			at = end
		case colon < 0 && isOneOf(code, "3A"):
			colon = end
		}
		end += 3
	}
	if colon < 0 || at < colon+4 {
		return from
	}
	return sc.found(colon+3, at, byURL)
}

func isHook(host, path string) bool {
	return strings.Contains(path, "/") && (strings.HasPrefix(host, "hooks.") || strings.Contains(host, ".webhook.") || strings.HasPrefix(path, "api/webhooks/"))
}

// slackHook looks at a path of Slack's web hooks without their host.
func (sc *scanner) slackHook(at int) int {
	s := sc.s
	if !strings.HasPrefix(s[at:], "/T") {
		return at
	}
	end := tokenEnd(s, at+1, "/")
	if path := s[at+1 : end]; strings.Count(path, "/") == 2 && strings.Contains(path, "/B") && len(path) > 30 {
		return sc.found(at+1, end, byWebhook)
	}
	return at
}

// kubernetes looks at a manifest whose kind stands at a place: all data of a
// Secret is one, whatever its keys are called.
func (sc *scanner) kubernetes(at int) {
	s := sc.s
	v := valueAt(s, at)
	if sc.kube || s[v.from:v.to] != "Secret" {
		return
	}
	sc.kube = true
	for _, name := range []string{"data", "stringData"} {
		for from := 0; ; {
			found := strings.Index(s[from:], name)
			if found < 0 {
				break
			}
			begin := from + found
			from = begin + len(name)
			if begin > 0 && lineBreak(s, begin) == "" && strings.IndexByte("\"' {,", s[begin-1]) < 0 {
				continue // metadata
			}
			end := from
			for end < len(s) && strings.IndexByte("\\\" ", s[end]) >= 0 {
				end++
			}
			if end == len(s) || s[end] != ':' {
				continue
			}
			if b := valueAt(s, end+1); b.bracket {
				sc.cuts = append(sc.cuts, cut{b.from, b.to, byKubernetes, quoteOf(s[begin-min(begin, 2):])})
				from = b.to
				continue
			}
			from = sc.manifest(begin, end+1)
		}
	}
}

// manifest takes out the values of the lines below a key of YAML, which are
// indented further.
func (sc *scanner) manifest(key, at int) int {
	s := sc.s
	begin := key
	for begin > 0 && s[begin-1] == ' ' {
		begin--
	}
	indent, newline := key-begin, lineBreak(s, begin)
	if newline == "" {
		newline = "\n"
	}
	next := strings.Index(s[at:], newline)
	for next >= 0 {
		line := at + next + len(newline)
		end := len(s)
		if next = strings.Index(s[line:], newline); next >= 0 {
			end = line + next
		}
		text := s[line:end]
		if strings.TrimSpace(text) != "" && len(text)-len(strings.TrimLeft(text, " ")) <= indent {
			return line
		}
		from := line
		if colon := strings.IndexByte(text, ':'); colon >= 0 {
			from = line + colon + 1
		}
		for from < end && s[from] == ' ' {
			from++
		}
		if value := s[from:end]; len(value) > 1 {
			sc.found(from, end, byKubernetes)
		}
		at = line
	}
	return len(s)
}

// lineBreak returns the line break before a place, as it is written there: with
// backslashes within JSON. It is empty where there is none.
func lineBreak(s string, at int) string {
	if at > 0 && s[at-1] == '\n' {
		return "\n"
	}
	if n := backslashes(s, at-1); at > 0 && s[at-1] == 'n' && n > 0 {
		return s[at-1-n : at]
	}
	return ""
}
