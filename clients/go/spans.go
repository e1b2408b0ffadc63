package artifacts

import (
	"google.golang.org/grpc/mem"

	artifactsv1 "github.com/dstackai/dstack-artifacts/gen/go/dstack/artifacts/v1"
)

// sendMissing sends the parts of a buffer that lie outside the spans, lets go of it, and gives the offset behind it.
func sendMissing(s *sender, buffer mem.Buffer, offset int64, spans []*artifactsv1.ByteSpan) (int64, error) {
	defer buffer.Free()
	end := offset + int64(buffer.Len())
	base := offset
	for offset < end {
		spans = spansFrom(spans, offset)
		to := end
		var err error
		if len(spans) > 0 && int64(spans[0].GetOffset()) <= offset {
			to = min(to, int64(spans[0].GetOffset()+spans[0].GetLength()))
			s.meter.add(int(to - offset))
			// A span is left out as a whole, when its first byte comes by.
			if int64(spans[0].GetOffset()) == offset {
				err = s.skip(int64(spans[0].GetLength()))
			}
		} else {
			if len(spans) > 0 {
				to = min(to, int64(spans[0].GetOffset()))
			}
			err = s.chunk(buffer.Slice(int(offset-base), int(to-base)))
		}
		if err != nil {
			return 0, err
		}
		offset = to
	}
	return end, nil
}

// spansFrom drops the spans that end at or before offset.
func spansFrom(spans []*artifactsv1.ByteSpan, offset int64) []*artifactsv1.ByteSpan {
	for len(spans) > 0 && int64(spans[0].GetOffset()+spans[0].GetLength()) <= offset {
		spans = spans[1:]
	}
	return spans
}
