package artifacts

import (
	"bytes"
	"slices"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	artifactsv1 "github.com/dstackai/dstack-artifacts/gen/go/dstack/artifacts/v1"
)

func TestChunksAreSentAsProtobufSendsThem(t *testing.T) {
	for _, size := range []int{0, 1, 127, 128, chunkBytes} {
		chunk := bytes.Repeat([]byte("x"), size)
		want, err := proto.Marshal(&artifactsv1.UploadRequest{Message: &artifactsv1.UploadRequest_Chunk{Chunk: chunk}})
		if err != nil {
			t.Fatal(err)
		}
		got, err := streamCodec{}.Marshal(&chunkOut{mem.SliceBuffer(chunk)})
		if err != nil || !bytes.Equal(got.Materialize(), want) {
			t.Errorf("a chunk of %d bytes becomes %d, %v", size, got.Len(), err)
		}
	}
}

func TestMessagesAreReadAsProtobufReadsThem(t *testing.T) {
	response := func(m *artifactsv1.DownloadResponse) []byte {
		data, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	chunk := response(&artifactsv1.DownloadResponse{Message: &artifactsv1.DownloadResponse_Chunk{Chunk: bytes.Repeat([]byte("abc"), 100)}})
	end := response(&artifactsv1.DownloadResponse{Message: &artifactsv1.DownloadResponse_FileEnd{FileEnd: &artifactsv1.FileEnd{Size: 3}}})
	for name, data := range map[string][]byte{
		"a chunk":                       chunk,
		"an empty chunk":                response(&artifactsv1.DownloadResponse{Message: &artifactsv1.DownloadResponse_Chunk{}}),
		"a file's end":                  end,
		"nothing":                       {},
		"two chunks, of which one wins": slices.Concat(chunk, chunk),
		"a chunk that an end overrides": slices.Concat(chunk, end),
		"a chunk after an end":          slices.Concat(end, chunk),
		"a chunk and an unknown field":  protowire.AppendVarint(protowire.AppendTag(slices.Clone(chunk), 99, protowire.VarintType), 1),
		"a chunk whose length is padded": slices.Concat(
			protowire.AppendTag(nil, 3, protowire.BytesType), []byte{0x83, 0x80, 0x00}, []byte("abc")),
	} {
		var want artifactsv1.DownloadResponse
		if err := proto.Unmarshal(data, &want); err != nil {
			t.Fatal(err)
		}
		for cut := range len(data) + 1 {
			parts := mem.BufferSlice{mem.SliceBuffer(slices.Clone(data[:cut])), mem.SliceBuffer(slices.Clone(data[cut:]))}
			var in downloadIn
			if err := (streamCodec{}).Unmarshal(parts, &in); err != nil {
				t.Fatalf("%s, cut at %d: %v", name, cut, err)
			}
			got, ok := in.bytes()
			wanted, isChunk := want.GetMessage().(*artifactsv1.DownloadResponse_Chunk)
			if ok != isChunk || isChunk && !bytes.Equal(got.Materialize(), wanted.Chunk) || !isChunk && !proto.Equal(&in.message, &want) {
				t.Errorf("%s, cut at %d: %q", name, cut, got.Materialize())
			}
		}
	}
	for _, data := range [][]byte{chunk[:len(chunk)-1], {0x1a}, {0x1a, 0xff}} {
		if err := (streamCodec{}).Unmarshal(mem.BufferSlice{mem.SliceBuffer(data)}, &downloadIn{}); err == nil {
			t.Errorf("%d bytes of a chunk are taken", len(data))
		}
	}
}
