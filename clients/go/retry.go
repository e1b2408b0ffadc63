package artifacts

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
)

const (
	// Tries follow each other after up to 100 ms, 200 ms and so on, at most 2 s, drawn at random so that many clients spread.
	firstBackoff = 100 * time.Millisecond
	maxBackoff   = 2 * time.Second
	// How long a connection that failed before gets for being made again before a call is tried.
	wakeTimeout = time.Second
)

// retrier decides how long a call is tried again: until the timeout passes without progress.
type retrier struct {
	client *Client
	// Whether the server answered anything: one that can't be reached at first is an error at once.
	reached  bool
	failures int
	deadline time.Time
}

// newRetrier begins a call of a client; a server that answered the client before is waited for.
func (c *Client) newRetrier() *retrier { return &retrier{client: c, reached: c.reached.Load()} }

// progressed starts the time anew.
func (r *retrier) progressed() {
	r.reached = true
	r.failures = 0
	r.deadline = time.Time{}
}

// wait returns nil when the call that failed with err should be tried again, after waiting for as long as it should; else the error to
// report.
func (r *retrier) wait(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return cancelled(ctx)
	}
	if _, ok := errors.AsType[*DstackError](err); ok {
		return err
	}
	a := answerOf(err)
	if a.reason != "" {
		r.reached = true
	}
	if r.deadline.IsZero() {
		r.deadline = time.Now().Add(r.client.timeout)
	}
	left := time.Until(r.deadline)
	if (a.unreachable() && !r.reached) || !a.retryable() || left <= 0 {
		return r.client.failure(err, r.reached)
	}
	// Lost on a connection that was made: what was asked for may have been done, and only trying again can tell.
	r.reached = true
	timer := time.NewTimer(min(left, max(a.retryAfter, rand.N(longestWait(r.failures)))))
	r.failures++
	defer timer.Stop()
	select {
	case <-timer.C:
		r.client.wake(ctx)
		return nil
	case <-ctx.Done():
		return cancelled(ctx)
	}
}

// longestWait is the most that is waited after so many failures.
func longestWait(failures int) time.Duration {
	return min(firstBackoff<<min(failures, 10), maxBackoff)
}

// wake has a connection that failed before be made again now. Without it, a call would fail by what was true a while ago.
func (c *Client) wake(ctx context.Context) {
	if c.conn.GetState() != connectivity.TransientFailure {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, wakeTimeout)
	defer cancel()
	c.conn.ResetConnectBackoff()
	c.conn.WaitForStateChange(ctx, connectivity.TransientFailure)
}

// method is a unary call of the generated stub.
type method[Request, Response any] func(context.Context, Request, ...grpc.CallOption) (Response, error)

// call makes one unary call, again where that can help. All unary calls are safe to make again: what changes something carries an id.
func call[Request, Response any](ctx context.Context, c *Client, m method[Request, Response], request Request) (Response, error) {
	return callWith(ctx, c.newRetrier(), m, request)
}

func callWith[Request, Response any](
	ctx context.Context, r *retrier, m method[Request, Response], request Request,
) (Response, error) {
	r.client.wake(ctx)
	for {
		response, err := m(ctx, request)
		if err == nil {
			r.reached = true
			r.client.reached.Store(true)
			return response, nil
		}
		if err = r.wait(ctx, err); err != nil {
			return response, err
		}
	}
}
