package artifacts

import (
	"fmt"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	artifactsv1 "github.com/dstackai/dstack-artifacts/gen/go/dstack/artifacts/v1"
)

// chunkBytes is how many bytes of a file one message carries.
const chunkBytes = 1 << 20

// chunkTag begins a message that is nothing but a chunk: field 3 of the oneof in both streams.
var chunkTag = protowire.AppendTag(nil, 3, protowire.BytesType)

// chunkPool keeps the buffers of chunks; grpc gives each back when the bytes are on the wire.
var chunkPool = &bufferPool{pool: sync.Pool{New: func() any { return new(make([]byte, chunkBytes)) }}}

type bufferPool struct{ pool sync.Pool }

func (p *bufferPool) Get(length int) *[]byte {
	if length > chunkBytes {
		return new(make([]byte, length))
	}
	buffer := p.pool.Get().(*[]byte)
	*buffer = (*buffer)[:length]
	return buffer
}

func (p *bufferPool) Put(buffer *[]byte) {
	if cap(*buffer) == chunkBytes {
		*buffer = (*buffer)[:chunkBytes]
		p.pool.Put(buffer)
	}
}

// chunkOut is an UploadRequest with a chunk, whose buffer goes to the socket without being copied.
type chunkOut struct{ buffer mem.Buffer }

// downloadIn is a DownloadResponse: a chunk in the buffers it arrived in, which the receiver frees, or any other message.
type downloadIn struct {
	chunk   mem.BufferSlice
	isChunk bool
	message artifactsv1.DownloadResponse
}

// streamCodec marshals the messages of the two streams: chunks without copying them, everything else as protobuf does.
type streamCodec struct{}

// The content type stays "application/grpc", which is what servers know best.
func (streamCodec) Name() string { return "" }

func (streamCodec) Marshal(v any) (mem.BufferSlice, error) {
	switch m := v.(type) {
	case *chunkOut:
		head := make([]byte, 0, len(chunkTag)+5)
		head = protowire.AppendVarint(append(head, chunkTag...), uint64(m.buffer.Len()))
		return mem.BufferSlice{mem.SliceBuffer(head), m.buffer}, nil
	case proto.Message:
		data, err := proto.Marshal(m)
		return mem.BufferSlice{mem.SliceBuffer(data)}, err
	}
	return nil, fmt.Errorf("no message of the streams: %T", v)
}

func (streamCodec) Unmarshal(data mem.BufferSlice, v any) error {
	in, ok := v.(*downloadIn)
	if !ok {
		return proto.Unmarshal(data.Materialize(), v.(proto.Message))
	}
	in.isChunk, in.chunk = false, nil
	if skip := chunkStart(data); skip > 0 {
		in.isChunk = true
		in.chunk = behind(data, skip)
		return nil
	}
	in.message.Reset()
	return proto.Unmarshal(data.Materialize(), &in.message)
}

// chunkStart gives where the bytes begin in a message that is one chunk and nothing else, and 0 for every other message.
func chunkStart(data mem.BufferSlice) int {
	if len(data) == 0 {
		return 0
	}
	first := data[0].ReadOnlyData()
	if len(first) < len(chunkTag) || string(first[:len(chunkTag)]) != string(chunkTag) {
		return 0
	}
	length, n := protowire.ConsumeVarint(first[len(chunkTag):])
	// A length that is cut by a packet's end is rare: that message takes the way of all others.
	if start := len(chunkTag) + n; n > 0 && uint64(data.Len()) == uint64(start)+length {
		return start
	}
	return 0
}

// behind gives the buffers without their first bytes, each with a reference of its own.
func behind(data mem.BufferSlice, skip int) mem.BufferSlice {
	rest := make(mem.BufferSlice, 0, len(data))
	for _, buffer := range data {
		switch {
		case skip >= buffer.Len():
			skip -= buffer.Len()
		case skip > 0:
			rest = append(rest, buffer.Slice(skip, buffer.Len()))
			skip = 0
		default:
			buffer.Ref()
			rest = append(rest, buffer)
		}
	}
	return rest
}

// chunk gives the message's bytes, if it is a chunk: where they arrived, or copied where the message had an unusual form.
func (in *downloadIn) bytes() (mem.BufferSlice, bool) {
	if in.isChunk {
		return in.chunk, true
	}
	if m, ok := in.message.GetMessage().(*artifactsv1.DownloadResponse_Chunk); ok {
		return mem.BufferSlice{mem.SliceBuffer(m.Chunk)}, true
	}
	return nil, false
}

var _ encoding.CodecV2 = streamCodec{}

// uploadStream and downloadStream describe the two streams to grpc.
var (
	uploadStream   = &grpc.StreamDesc{StreamName: "Upload", ClientStreams: true}
	downloadStream = &grpc.StreamDesc{StreamName: "Download", ServerStreams: true}
)

func streamOptions() []grpc.CallOption { return []grpc.CallOption{grpc.ForceCodecV2(streamCodec{})} }
