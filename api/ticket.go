package api

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"time"
)

// ticket is what the cookie of a session carries: the session's id, when the
// cookie was set, in nanoseconds since 1970, and a MAC of both by the seal of
// the token that signed in. So the tokens are all that a server needs to go on
// with the sessions of the one before it.
//
//	0            16           24                     56
//	┌────────────┬────────────┬──────────────────────┐
//	│     id     │    time    │  HMAC-SHA256 of both │  big-endian, in base64
//	└────────────┴────────────┴──────────────────────┘
type ticket [timeEnd + sha256.Size]byte

const (
	idEnd   = 16
	timeEnd = idEnd + 8
)

type sessionID [idEnd]byte

func newSessionID() (id sessionID) {
	rand.Read(id[:])
	return id
}

// ticketText has one text for each ticket.
var ticketText = base64.RawURLEncoding.Strict()

// ticket returns one of this moment.
func (of *session) ticket() (t ticket) {
	copy(t[:], of.id[:])
	binary.BigEndian.PutUint64(t[idEnd:], uint64(time.Now().UnixNano()))
	copy(t[timeEnd:], of.seal.mac(t[:timeEnd]))
	return t
}

// parseTicket reads a cookie's value. It is false for what has another form; who
// made the ticket is not asked.
func parseTicket(value string) (t ticket, ok bool) {
	if len(value) != ticketText.EncodedLen(len(t)) {
		return t, false
	}
	n, err := ticketText.Decode(t[:], []byte(value))
	return t, n == len(t) && err == nil
}

func (t ticket) String() string { return ticketText.EncodeToString(t[:]) }

func (t ticket) id() sessionID { return sessionID(t[:idEnd]) }

func (t ticket) issued() time.Time {
	return time.Unix(0, int64(binary.BigEndian.Uint64(t[idEnd:timeEnd])))
}

// sealed reports whether a ticket bears a seal, in a time that does not tell how
// much of it is right.
func (t ticket) sealed(by seal) bool { return hmac.Equal(t[timeEnd:], by.mac(t[:timeEnd])) }

// seal is the key of the MACs that a token gives.
type seal [sha256.Size]byte

// sealOf returns the seal of a token. It does not follow from the token's plain
// SHA-256, which may be known elsewhere. That of a token which is too short is
// another each time: from its cookies the token can't be guessed, and its
// sessions end with the process.
func sealOf(token string) (s seal) {
	if len(token) < shortToken {
		rand.Read(s[:])
		return s
	}
	m := hmac.New(sha256.New, []byte(token))
	m.Write([]byte("midspan session"))
	m.Sum(s[:0])
	return s
}

func (s seal) mac(of []byte) []byte {
	m := hmac.New(sha256.New, s[:])
	m.Write(of)
	return m.Sum(nil)
}
