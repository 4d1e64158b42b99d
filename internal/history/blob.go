package history

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/klauspost/compress/zstd"
)

// A blob is what a row of the database holds:
//
//	blob := crc32c of the rest (4 bytes, little-endian), coding (1), payload
//
// The payload is the data itself or one zstd frame of it.
const (
	codingRaw  = 0
	codingZstd = 1

	blobHeader = 5
	// maxBlob bounds what a blob unpacks to. A segment's largest part is its
	// text, which the index keeps well below.
	maxBlob = 1 << 30
)

var (
	errChecksum = errors.New("its checksum is wrong")
	castagnoli  = crc32.MakeTable(crc32.Castagnoli)
)

// packer packs and unpacks blobs. It is safe for concurrent use.
type packer struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
}

func newPacker() (*packer, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(2), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, fmt.Errorf("history: open the compressor: %w", err)
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(maxBlob))
	if err != nil {
		return nil, fmt.Errorf("history: open the decompressor: %w", err)
	}
	return &packer{enc, dec}, nil
}

// pack returns a blob of the data.
func (p *packer) pack(data []byte) []byte {
	b := make([]byte, blobHeader, blobHeader+len(data)+len(data)/64)
	b[4] = codingZstd
	b = p.enc.EncodeAll(data, b)
	if len(b) > len(data)-len(data)/16 { // not worth the time to unpack it
		b = append(b[:blobHeader], data...)
		b[4] = codingRaw
	}
	binary.LittleEndian.PutUint32(b, crc32.Checksum(b[4:], castagnoli))
	return b
}

// unpack returns the data of a blob. It may be a part of the blob.
func (p *packer) unpack(blob []byte) ([]byte, error) {
	if len(blob) < blobHeader || binary.LittleEndian.Uint32(blob) != crc32.Checksum(blob[4:], castagnoli) {
		return nil, errChecksum
	}
	switch payload := blob[blobHeader:]; blob[4] {
	case codingRaw:
		return payload, nil
	case codingZstd:
		data, err := p.dec.DecodeAll(payload, nil)
		if err != nil {
			return nil, fmt.Errorf("unpack it: %w", err)
		}
		return data, nil
	default:
		return nil, fmt.Errorf("its coding is %d", blob[4])
	}
}

func (p *packer) close() error {
	p.dec.Close()
	return p.enc.Close()
}
