package api

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc32"

	"github.com/midspan/midspan/activity"
)

// A cursor's text is the base64url form, without padding, of
//
//	version(1) sort(1) key(8, big-endian) trace(16) span(8) crc32(4)
//
// where the checksum (IEEE) covers all before it. It is no secret and no
// capability: the checksum only tells a damaged cursor from a bad one early.
const (
	cursorVersion = 1
	cursorBytes   = 1 + 1 + 8 + 16 + 8 + 4
)

var (
	errCursor = errors.New("is not a cursor that this server gave")
	// Strict, so that one cursor has one text.
	cursorText = base64.RawURLEncoding.Strict()
)

func appendCursor(b []byte, c *activity.Cursor) []byte {
	raw := make([]byte, 0, cursorBytes)
	raw = append(raw, cursorVersion, byte(c.Sort))
	raw = binary.BigEndian.AppendUint64(raw, uint64(c.Key))
	raw = append(raw, c.ID.Trace[:]...)
	raw = append(raw, c.ID.Span[:]...)
	raw = binary.BigEndian.AppendUint32(raw, crc32.ChecksumIEEE(raw))
	return cursorText.AppendEncode(b, raw)
}

func parseCursor(s string) (*activity.Cursor, error) {
	if len(s) != cursorText.EncodedLen(cursorBytes) {
		return nil, errCursor
	}
	raw, err := cursorText.DecodeString(s)
	if err != nil || len(raw) != cursorBytes {
		return nil, errCursor
	}
	body, sum := raw[:cursorBytes-4], binary.BigEndian.Uint32(raw[cursorBytes-4:])
	if crc32.ChecksumIEEE(body) != sum || body[0] != cursorVersion || body[1] > byte(activity.LatestEnded) {
		return nil, errCursor
	}
	c := &activity.Cursor{Sort: activity.Sort(body[1]), Key: int64(binary.BigEndian.Uint64(body[2:10]))}
	copy(c.ID.Trace[:], body[10:26])
	copy(c.ID.Span[:], body[26:34])
	if c.ID.IsZero() {
		return nil, errCursor
	}
	return c, nil
}
