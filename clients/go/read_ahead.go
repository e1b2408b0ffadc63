package artifacts

import (
	"hash/crc32"
	"io"
	"sync"

	"google.golang.org/grpc/mem"
)

// smallBytes is up to where a chunk gets a buffer of its own size instead of one from the pool.
const smallBytes = 32 << 10

// fileChunk is the next bytes of a file, and the checksum of all up to their end.
type fileChunk struct {
	buffer mem.Buffer
	crc    uint32
	err    error
}

// readAhead reads the first size bytes of f; of a file of several chunks, one is read while the one before it is sent. After stop, nothing
// reads f any more.
func readAhead(f io.Reader, size int64) (next func() fileChunk, stop func()) {
	var crc uint32
	left := size
	read := func() fileChunk {
		buffer, err := readBuffer(f, int(min(left, chunkBytes)))
		if err != nil {
			return fileChunk{err: err}
		}
		left -= int64(buffer.Len())
		crc = crc32.Update(crc, castagnoli, buffer.ReadOnlyData())
		return fileChunk{buffer: buffer, crc: crc}
	}
	if size <= chunkBytes {
		return read, func() {}
	}
	chunks, stopped := make(chan fileChunk), make(chan struct{})
	var reading sync.WaitGroup
	reading.Go(func() {
		for left > 0 {
			chunk := read()
			select {
			case chunks <- chunk:
			case <-stopped:
				return
			}
			if chunk.err != nil {
				return
			}
		}
	})
	return func() fileChunk { return <-chunks }, func() {
		close(stopped)
		reading.Wait()
	}
}

// readBuffer reads exactly length bytes. Fewer mean that the file has changed.
func readBuffer(f io.Reader, length int) (mem.Buffer, error) {
	var bytes *[]byte
	if length <= smallBytes {
		bytes = new(make([]byte, length))
	} else {
		bytes = chunkPool.Get(length)
	}
	if _, err := io.ReadFull(f, *bytes); err != nil {
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			err = errChanged
		}
		return nil, err
	}
	return mem.NewBuffer(bytes, chunkPool), nil
}
