package artifacts

import (
	"io/fs"
)

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
	// ReasonUploadFinished: the upload is committed or about to be, so it can't be aborted.
	ReasonUploadFinished Reason = "UPLOAD_FINISHED"
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

// Unwrap gives the error that caused it, or nil.
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
