package artifacts

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	// Tries follow each other after 100 ms, 200 ms and so on, at most 2 s, each made shorter at random so that many clients spread.
	firstBackoff = 100 * time.Millisecond
	maxBackoff   = 2 * time.Second
)

// retrier decides how long a call is tried again: until the timeout passes without progress.
type retrier struct {
	client *Client
	// Whether the server answered anything: one that can't be reached at first is an error at once.
	reached  bool
	failures int
	deadline time.Time
}

func (c *Client) newRetrier() *retrier { return &retrier{client: c} }

// progressed starts the time anew.
func (r *retrier) progressed() {
	r.reached = true
	r.failures = 0
	r.deadline = time.Time{}
}

// wait returns nil when the call that failed with err should be tried again, after waiting for as long as it should; else the error to
// report.
func (r *retrier) wait(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return &DstackError{Message: cause.Error(), Err: cause}
	}
	a := answerOf(err)
	if a.reason != "" {
		r.reached = true
	}
	now := time.Now()
	if r.deadline.IsZero() {
		r.deadline = now.Add(r.client.timeout)
	}
	delay := min(firstBackoff<<min(r.failures, 10), maxBackoff)
	delay = max(time.Duration(rand.Int64N(int64(delay)+1)), a.retryAfter)
	if !r.reached || !a.retryable() || now.Add(delay).After(r.deadline) {
		return r.client.failure(err, r.reached)
	}
	r.failures++
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		cause := context.Cause(ctx)
		return &DstackError{Message: cause.Error(), Err: cause}
	}
}

// call makes one unary call, again where that can help. All unary calls are safe to make again: what changes something carries an id.
func call[Request, Response any](
	ctx context.Context, c *Client, method func(context.Context, Request) (Response, error), request Request,
) (Response, error) {
	return callWith(ctx, c.newRetrier(), method, request)
}

func callWith[Request, Response any](
	ctx context.Context, r *retrier, method func(context.Context, Request) (Response, error), request Request,
) (Response, error) {
	for {
		response, err := method(ctx, request)
		if err == nil {
			r.reached = true
			return response, nil
		}
		if err = r.wait(ctx, err); err != nil {
			return response, err
		}
	}
}
