package artifacts

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// errorDomain is the domain of the google.rpc.ErrorInfo that the server's errors carry.
const errorDomain = "artifacts.dstack.ai"

// Reason says why a call failed, for programs: a name of the protocol's ErrorReason. It is an error so that errors.Is can compare with
// it: errors.Is(err, artifacts.ReasonTagExists).
type Reason string

// Error gives the reason's name.
func (r Reason) Error() string { return string(r) }

// The reasons that callers may want to tell apart; the server's errors may have others of the protocol.
const (
	// ReasonNameInvalid: a project, run or tag has a name that breaks the rule.
	ReasonNameInvalid Reason = "NAME_INVALID"
	// ReasonPathInvalid: an artifact path breaks the rule, or the root stands where a file must.
	ReasonPathInvalid Reason = "PATH_INVALID"
	// ReasonPathConflict: one upload has a path twice, or as a file and as a folder.
	ReasonPathConflict Reason = "PATH_CONFLICT"
	// ReasonRangeInvalid: a range lies outside the file.
	ReasonRangeInvalid Reason = "RANGE_INVALID"
	// ReasonRunNotFound: no such run.
	ReasonRunNotFound Reason = "RUN_NOT_FOUND"
	// ReasonCommitNotFound: the run has no such commit.
	ReasonCommitNotFound Reason = "COMMIT_NOT_FOUND"
	// ReasonTagNotFound: no such tag.
	ReasonTagNotFound Reason = "TAG_NOT_FOUND"
	// ReasonPathNotFound: the run or tag has nothing at the path.
	ReasonPathNotFound Reason = "PATH_NOT_FOUND"
	// ReasonUploadNotFound: no such upload.
	ReasonUploadNotFound Reason = "UPLOAD_NOT_FOUND"
	// ReasonTagExists: the tag exists.
	ReasonTagExists Reason = "TAG_EXISTS"
	// ReasonRunReserved: the run's name is claimed by a tagged upload that is not committed.
	ReasonRunReserved Reason = "RUN_RESERVED"
	// ReasonRunHasTags: the run has tags, so it is deleted only by force.
	ReasonRunHasTags Reason = "RUN_HAS_TAGS"
	// ReasonUploadIDMismatch: the upload id was started for another run or tag.
	ReasonUploadIDMismatch Reason = "UPLOAD_ID_MISMATCH"
	// ReasonUploadGone: the upload was aborted or collected as garbage.
	ReasonUploadGone Reason = "UPLOAD_GONE"
	// ReasonChecksumMismatch: bytes were damaged on the way.
	ReasonChecksumMismatch Reason = "CHECKSUM_MISMATCH"
	// ReasonDataDamaged: stored bytes are damaged or missing.
	ReasonDataDamaged Reason = "DATA_DAMAGED"
	// ReasonTokenMissing: a token is needed and none was given.
	ReasonTokenMissing Reason = "TOKEN_MISSING"
	// ReasonTokenInvalid: the token is not one that the server knows.
	ReasonTokenInvalid Reason = "TOKEN_INVALID"
	// ReasonAccessDenied: the token does not allow this.
	ReasonAccessDenied Reason = "ACCESS_DENIED"
	// ReasonStoreUnavailable: the store does not answer.
	ReasonStoreUnavailable Reason = "STORE_UNAVAILABLE"
	// ReasonStoreFull: the store has no space or quota left.
	ReasonStoreFull Reason = "STORE_FULL"

	reasonPersistedMissing Reason = "PERSISTED_MISSING"
)

// DstackError is every error of this package, or is embedded in it. Its message is one line that names what failed and says what to do.
type DstackError struct {
	// Message is for a person to read.
	Message string
	// Reason is what the server said; empty where the failure is this side's.
	Reason Reason
	// Metadata names what the reason is about, as the protocol's ErrorReason says for each.
	Metadata map[string]string
	// Err is what caused it, or nil.
	Err error
}

// Error gives the message.
func (e *DstackError) Error() string { return e.Message }

// Unwrap gives the cause, or nil.
func (e *DstackError) Unwrap() error { return e.Err }

// Is says whether target is the error's Reason, or the fs error that means the same: fs.ErrNotExist or fs.ErrExist.
func (e *DstackError) Is(target error) bool {
	if reason, ok := target.(Reason); ok {
		return e.Reason == reason
	}
	switch e.Reason {
	case ReasonRunNotFound, ReasonCommitNotFound, ReasonTagNotFound, ReasonPathNotFound, ReasonUploadNotFound:
		return target == fs.ErrNotExist
	case ReasonTagExists:
		return target == fs.ErrExist
	case ReasonAccessDenied, ReasonTokenInvalid, ReasonTokenMissing:
		return target == fs.ErrPermission
	}
	return false
}

// ArtifactsUploadError is a failed upload. Nothing of it is visible.
type ArtifactsUploadError struct {
	DstackError
	// UploadID continues the upload when it is given to another one with [WithUploadID]; empty if nothing was begun.
	UploadID string
}

// As lets errors.As find the embedded [*DstackError].
func (e *ArtifactsUploadError) As(target any) bool { return asEmbedded(target, &e.DstackError, nil) }

// ArtifactsDownloadError is a failed download or reading.
type ArtifactsDownloadError struct{ DstackError }

// As lets errors.As find the embedded [*DstackError].
func (e *ArtifactsDownloadError) As(target any) bool { return asEmbedded(target, &e.DstackError, nil) }

// RunNotFoundError says that there is no such run, or not with that commit.
type RunNotFoundError struct{ ArtifactsDownloadError }

// As lets errors.As find the embedded errors.
func (e *RunNotFoundError) As(target any) bool {
	return asEmbedded(target, &e.DstackError, &e.ArtifactsDownloadError)
}

// TagNotFoundError says that there is no such tag.
type TagNotFoundError struct{ ArtifactsDownloadError }

// As lets errors.As find the embedded errors.
func (e *TagNotFoundError) As(target any) bool {
	return asEmbedded(target, &e.DstackError, &e.ArtifactsDownloadError)
}

func asEmbedded(target any, base *DstackError, download *ArtifactsDownloadError) bool {
	switch t := target.(type) {
	case **DstackError:
		*t = base
		return true
	case **ArtifactsDownloadError:
		if download != nil {
			*t = download
			return true
		}
	}
	return false
}

// operation is the kind of call that fails, which decides the type of its error.
type operation int

const (
	opOther operation = iota
	opUpload
	opDownload
)

// wrap gives err the type that the operation's errors have.
func (op operation) wrap(err error) error {
	if err == nil {
		return nil
	}
	base := DstackError{Message: err.Error(), Err: err}
	if d, ok := errors.AsType[*DstackError](err); ok {
		if d != err { // It has a more special type already.
			return err
		}
		base = *d
	}
	switch {
	case base.Reason == ReasonRunNotFound || base.Reason == ReasonCommitNotFound:
		if op != opUpload {
			return &RunNotFoundError{ArtifactsDownloadError{base}}
		}
	case base.Reason == ReasonTagNotFound:
		if op != opUpload {
			return &TagNotFoundError{ArtifactsDownloadError{base}}
		}
	}
	switch op {
	case opUpload:
		return &ArtifactsUploadError{DstackError: base}
	case opDownload:
		return &ArtifactsDownloadError{base}
	}
	return &base
}

func failf(format string, args ...any) *DstackError {
	err := fmt.Errorf(format, args...)
	return &DstackError{Message: err.Error(), Err: errors.Unwrap(err)}
}

func invalidName(kind, name, problem string) *DstackError {
	return &DstackError{
		Message:  fmt.Sprintf("%s name %q %s", kind, name, problem),
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
	// How long the server asks to wait, or nothing.
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

// lost says whether the failure is the connection's and not the server's answer: those carry a reason.
func (a answer) lost() bool {
	if a.reason != "" {
		return false
	}
	switch a.code {
	case codes.Unavailable, codes.Canceled, codes.Internal, codes.Unknown:
		return true
	}
	return false
}

// retryable says whether the same call may succeed a little later.
func (a answer) retryable() bool {
	return a.lost() || a.code == codes.Unavailable || (a.code == codes.ResourceExhausted && a.hasRetryAfter)
}

// failure makes the error of a failed call for people: what the server said, or that there is none.
func (c *Client) failure(err error, reached bool) error {
	if _, ok := errors.AsType[*DstackError](err); ok {
		return err
	}
	a := answerOf(err)
	d := &DstackError{Message: a.message, Reason: a.reason, Metadata: a.metadata, Err: err}
	switch {
	case a.reason == ReasonTagExists:
		d.Message = fmt.Sprintf("tag %q already exists", a.metadata["tag"])
	case a.reason == ReasonRunNotFound:
		d.Message = fmt.Sprintf("run %q not found", a.metadata["run"])
	case a.reason == ReasonTagNotFound:
		d.Message = fmt.Sprintf("tag %q not found", a.metadata["tag"])
	case a.lost() && strings.Contains(a.message, "authentication handshake failed"):
		d.Message = fmt.Sprintf("no secure connection to the server at %s: %s", c.url, a.message)
	case a.lost() && !reached:
		d.Message = fmt.Sprintf("no server at %s: start one with `dstack-artifacts serve`", c.url)
	case a.lost():
		d.Message = fmt.Sprintf("the connection to the server at %s was lost: %s", c.url, a.message)
	}
	return d
}
