// Package artifacts uploads, finds and downloads artifacts of machine learning runs, kept by a dstack-artifacts server on the
// user's own storage.
//
// A run is a named set of files that uploads add to; a commit is what one upload adds; a tag is a name, created once, for a run at one
// of its commits. An upload is visible whole or not at all:
//
//	_, err := artifacts.Upload(ctx, "datasets/dataset1", artifacts.WithArtifactPath("data"), artifacts.WithTag("my_tag"))
//
// and a download sees one commit from beginning to end:
//
//	_, err := artifacts.Download(ctx, artifacts.Tag("my_tag"), artifacts.WithLocalPath("./my_model"))
//
// The functions of the package use a default client made from the environment (DSTACK_ARTIFACTS_URL, DSTACK_ARTIFACTS_TOKEN,
// DSTACK_PROJECT, DSTACK_RUN_NAME, RUN_NAME); [NewClient] makes others. Everything is safe for concurrent use unless it says otherwise.
//
// Every error is a [*DstackError] or one of the types that embed it: [*ArtifactsUploadError], [*ArtifactsDownloadError],
// [*RunNotFoundError], [*TagNotFoundError]. errors.As finds the more general ones in the more special ones, errors.Is compares with
// a [Reason], and what the language has for it matches too: context.Canceled, fs.ErrNotExist, fs.ErrExist.
//
// A server that can't be reached at first is an error at once. A connection that is lost later is taken up again until 30 seconds
// pass without progress ([WithTimeout]).
package artifacts
