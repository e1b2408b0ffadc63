package artifacts

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// errorDomain is the domain of the google.rpc.ErrorInfo that the server's errors carry.
const errorDomain = "artifacts.dstack.ai"

// operation is the kind of call that fails, which decides the type of its error.
type operation int

const (
	opOther operation = iota
	opUpload
	opDownload
)

// wrap gives err the type that the operation's errors have.
func (op operation) wrap(err error) error {
	var base DstackError
	switch e := err.(type) {
	case nil, *ArtifactsUploadError, *ArtifactsDownloadError, *RunNotFoundError, *TagNotFoundError:
		return err
	case *DstackError:
		base = *e
	default:
		base = DstackError{Message: oneLine(err.Error()), Err: err}
	}
	if op == opUpload {
		return &ArtifactsUploadError{DstackError: base}
	}
	switch base.Reason {
	case ReasonRunNotFound, ReasonCommitNotFound:
		return &RunNotFoundError{ArtifactsDownloadError{base}}
	case ReasonTagNotFound:
		return &TagNotFoundError{ArtifactsDownloadError{base}}
	}
	if op == opDownload {
		return &ArtifactsDownloadError{base}
	}
	return &base
}

func failf(format string, args ...any) *DstackError {
	err := fmt.Errorf(format, args...)
	return &DstackError{Message: oneLine(err.Error()), Err: errors.Unwrap(err)}
}

// cancelled is the error of a call whose context is done.
func cancelled(ctx context.Context) *DstackError {
	cause := context.Cause(ctx)
	return &DstackError{Message: cause.Error(), Err: cause}
}

func invalidName(kind, name, problem string) *DstackError {
	return &DstackError{
		Message:  fmt.Sprintf("%s %q: a name %s", kind, name, problem),
		Reason:   ReasonNameInvalid,
		Metadata: map[string]string{"kind": kind, "name": name},
	}
}

func invalidPath(path, problem string) *DstackError {
	return &DstackError{
		Message:  fmt.Sprintf("artifact path %q %s", path, problem),
		Reason:   ReasonPathInvalid,
		Metadata: map[string]string{"path": path},
	}
}

// answer is what a failed call's status says.
type answer struct {
	code     codes.Code
	message  string
	reason   Reason
	metadata map[string]string
	// How long the server asks to wait, and whether it says that a retry can help.
	retryAfter    time.Duration
	hasRetryAfter bool
}

func answerOf(err error) answer {
	s, _ := status.FromError(err)
	a := answer{code: s.Code(), message: s.Message()}
	for _, detail := range s.Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			if d.GetDomain() == errorDomain {
				a.reason, a.metadata = Reason(d.GetReason()), d.GetMetadata()
			}
		case *errdetails.RetryInfo:
			a.hasRetryAfter = true
			a.retryAfter = d.GetRetryDelay().AsDuration()
		}
	}
	return a
}

// lost says whether the failure is the connection's and not the server's answer: those carry a reason. Canceled and Internal are what
// grpc-go makes of a stream that was reset when the connection broke, ResourceExhausted of one that was too many for the connection.
func (a answer) lost() bool {
	return a.reason == "" && (a.code == codes.Unavailable || a.code == codes.Canceled || a.code == codes.Internal ||
		a.code == codes.ResourceExhausted && strings.Contains(a.message, "RST_STREAM"))
}

// unreachable says whether there was no connection to begin with, which grpc-go says in words only: it dials or shakes hands. Whatever else
// ends a connection comes later.
func (a answer) unreachable() bool {
	return a.lost() && (strings.Contains(a.message, "Error while dialing") || a.insecure())
}

// insecure says whether the two sides found no way to speak securely.
func (a answer) insecure() bool {
	return strings.Contains(a.message, "authentication handshake failed")
}

// retryable says whether the same call may succeed a little later.
func (a answer) retryable() bool {
	return a.lost() || a.code == codes.Unavailable || a.hasRetryAfter
}

// failure makes the error of a failed call for people: what the server said, or that there is none.
func (c *Client) failure(err error, reached bool) error {
	if _, ok := errors.AsType[*DstackError](err); ok {
		return err
	}
	a := answerOf(err)
	d := &DstackError{Message: oneLine(a.message), Reason: a.reason, Metadata: a.metadata, Err: err}
	switch {
	case a.reason != "":
	case a.insecure():
		d.Message = fmt.Sprintf("no secure connection to the server at %s: %s", c.url, oneLine(a.message))
	case a.unreachable() && !reached:
		d.Message = fmt.Sprintf("no server at %s: start one with `dstack-artifacts serve`", c.url)
	case a.lost():
		d.Message = fmt.Sprintf("the connection to the server at %s was lost: %s", c.url, oneLine(a.message))
	case a.code == codes.Unimplemented:
		d.Message = fmt.Sprintf("%s is not a server of artifacts: %s", c.url, oneLine(a.message))
	}
	return d
}

// oneLine puts what is on several lines on one.
func oneLine(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' }), " ")
}
