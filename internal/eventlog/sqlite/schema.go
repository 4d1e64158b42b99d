package sqlite

// The database's file, and how it is known. docs/format.md tells every byte.
const (
	fileName = "midspan.db"
	walName  = fileName + "-wal"

	applicationID = 0x4d535041 // "MSPA"

	// 16 KiB: a batch of 512 spans is five pages, and a cursor that moves writes
	// one. By BenchmarkPageSize an event costs 3.1 µs at 4 KiB, 2.7 at 16, 2.4 at
	// 32, 2.2 at 64.
	pageSize = 16 << 10
)

// migrations are the steps from an empty file to this version: step i leads from
// user_version i to i+1, in one transaction. What stands here was shipped and is
// never changed; a new version appends a step.
var migrations = []string{
	`
CREATE TABLE log (
  one         INTEGER PRIMARY KEY CHECK (one = 1),
  id          TEXT    NOT NULL, -- of the log, 26 characters
  floor       INTEGER NOT NULL, -- the last sequence that was let go of
  received_at INTEGER NOT NULL, -- of that event, Unix nanoseconds
  checksum    INTEGER NOT NULL, -- CRC-32C of the three
  probes      INTEGER NOT NULL  -- writes tried after one had failed
) STRICT;
CREATE TABLE batch (
  first       INTEGER PRIMARY KEY, -- sequence of the first event
  count       INTEGER NOT NULL,
  received_at INTEGER NOT NULL, -- Unix nanoseconds
  events      BLOB    NOT NULL
) STRICT;
CREATE TABLE cursor (
  name        TEXT    PRIMARY KEY,
  seq         INTEGER NOT NULL,
  checksum    INTEGER NOT NULL -- CRC-32C of the two
) STRICT, WITHOUT ROWID;
`, `
CREATE TABLE segment (
  number      INTEGER PRIMARY KEY, -- of its first row
  stored      INTEGER NOT NULL, -- bytes of its parts
  summary     BLOB    NOT NULL,
  dead        BLOB    NOT NULL -- which rows are held no more
) STRICT;
CREATE TABLE part (
  id          INTEGER PRIMARY KEY, -- number of the segment * 8 + part
  data        BLOB    NOT NULL
) STRICT;
CREATE TABLE state (
  generation  INTEGER NOT NULL,
  chunk       INTEGER NOT NULL,
  data        BLOB    NOT NULL,
  PRIMARY KEY (generation, chunk)
) STRICT;
CREATE TABLE checkpoint (
  one         INTEGER PRIMARY KEY CHECK (one = 1),
  generation  INTEGER NOT NULL, -- of the state that counts
  seq         INTEGER NOT NULL -- all events up to it are in state and segments
) STRICT;
`,
}
