package artifacts

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func newTestRetrier(t *testing.T, timeout time.Duration) *retrier {
	t.Helper()
	c, err := NewClient(WithURL("unix:///nowhere"), WithTimeout(timeout))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &retrier{client: c, reached: true}
}

func TestWaitsAsLongAsTheServerAsks(t *testing.T) {
	t.Parallel()
	asked := int64(80)
	busy := errorOf(t, errorDomain, errorCase{Reason: "SERVER_BUSY", Code: "RESOURCE_EXHAUSTED", RetryAfterMS: &asked})
	begun := time.Now()
	if err := newTestRetrier(t, time.Minute).wait(t.Context(), busy); err != nil {
		t.Fatal(err)
	}
	if waited := time.Since(begun); waited < 80*time.Millisecond {
		t.Errorf("waited %v", waited)
	}
}

func TestGivesUpWhenTimePassesWithoutProgress(t *testing.T) {
	t.Parallel()
	lost := status.Error(codes.Unavailable, "connection reset")
	r := newTestRetrier(t, time.Minute)
	if err := r.wait(t.Context(), lost); err != nil || r.failures != 1 || time.Until(r.deadline) > time.Minute {
		t.Errorf("%v, %+v", err, r)
	}
	r.deadline = time.Now()
	err := r.wait(t.Context(), lost)
	if d, ok := errors.AsType[*DstackError](err); !ok || !errors.Is(err, lost) || d.Reason != "" {
		t.Errorf("%v", err)
	}
	r.progressed()
	if err := r.wait(t.Context(), lost); err != nil || r.failures != 1 {
		t.Errorf("%v, %+v", err, r)
	}
}

func TestTriesNothingAgainThatCantHelp(t *testing.T) {
	t.Parallel()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	lost := status.Error(codes.Unavailable, "error reading from server: EOF")
	none := status.Error(codes.Unavailable, `connection error: desc = "transport: Error while dialing: dial unix s: connect: no such file"`)
	own := failf("the disk is full")
	unreached := newTestRetrier(t, time.Hour)
	unreached.reached = false
	for name, c := range map[string]struct {
		retrier *retrier
		ctx     context.Context
		err     error
		want    error
	}{
		"a refusal":                     {newTestRetrier(t, time.Hour), t.Context(), errorOf(t, errorDomain, errorCase{Reason: "TAG_EXISTS", Code: "ALREADY_EXISTS"}), ReasonTagExists},
		"an error of this side":         {newTestRetrier(t, time.Hour), t.Context(), own, own},
		"no server at all":              {unreached, t.Context(), none, none},
		"what the caller had enough of": {newTestRetrier(t, time.Hour), gone, lost, context.Canceled},
	} {
		if err := c.retrier.wait(c.ctx, c.err); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
