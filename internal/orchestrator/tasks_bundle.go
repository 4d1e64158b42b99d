package orchestrator

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// codec compresses and expands. It is safe for concurrent use.
type codec struct {
	encoder *zstd.Encoder
	decoder *zstd.Decoder
}

func newCodec() (*codec, error) {
	encoder, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.SpeedBetterCompression),
		// Documents are small; the default window would take megabytes for
		// every one that is compressed at the same time.
		zstd.WithWindowSize(maxDocument), zstd.WithEncoderConcurrency(2))
	if err != nil {
		return nil, err
	}
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(4*maxDocument))
	if err != nil {
		return nil, err
	}
	return &codec{encoder, decoder}, nil
}

func (c *codec) close() error {
	c.decoder.Close()
	return c.encoder.Close()
}

// bundle compresses documents, each for itself.
type bundle struct {
	shelf *shelf
	codec *codec

	mu     sync.Mutex // guards packed
	packed map[string]packed
}

type packed struct {
	frame  []byte
	length int
	sum    [sha256.Size]byte
}

func (t *bundle) document(ctx context.Context, d document, text []byte) (string, error) {
	// Compression can't be interrupted, so this is the last moment to stop.
	if err := ctx.Err(); err != nil {
		return "", err
	}
	frame := t.codec.encoder.EncodeAll(text, make([]byte, 0, len(text)/2))
	t.mu.Lock()
	defer t.mu.Unlock()
	t.packed[d.Path] = packed{frame: frame, length: len(text), sum: sha256.Sum256(text)}
	return fmt.Sprintf("%s became %s, %.0f %%", size(int64(len(text))), size(int64(len(frame))), share(len(frame), len(text))), nil
}

func share(part, whole int) float64 { return 100 * float64(part) / float64(max(whole, 1)) }

func (t *bundle) finish() (string, any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before, after := 0, 0
	for _, p := range t.packed {
		before += p.length
		after += len(p.frame)
	}
	did := fmt.Sprintf("Bundled %s: %s became %s, %.0f %%", count(len(t.packed), "document"), size(int64(before)), size(int64(after)), share(after, before))
	return did, map[string]int{"documents": len(t.packed), "bytes": before, "compressed_bytes": after}
}

// check expands every frame again.
func (t *bundle) check(context.Context) ([]check, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	same, buffer := 0, []byte(nil)
	for name, p := range t.packed {
		text, err := t.codec.decoder.DecodeAll(p.frame, buffer[:0])
		if err != nil {
			return nil, fmt.Errorf("expand %s: %w", name, err)
		}
		if sha256.Sum256(text) == p.sum {
			same++
		}
		buffer = text
	}
	return []check{{fmt.Sprintf("%d of %s expand to what they were", same, count(len(t.packed), "document")), same == len(t.packed)}}, nil
}
