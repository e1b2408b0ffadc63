"""What is read: a run at a commit, or a tag."""

from __future__ import annotations

from ._errors import ArtifactsDownloadError, DstackError
from ._paths import path_problem, quote, trim_path
from ._settings import check_name
from .v1 import artifacts_pb2 as pb


def reference_of(run: str | None, tag: str | None, commit: int | None, error: type[DstackError] = ArtifactsDownloadError) -> pb.Reference:
    """The message for the server. Refuses anything but exactly one of run and tag."""
    if run is not None and tag is not None:
        raise error("run and tag were both given: name one of them")
    if tag is not None:
        check_name("tag", tag, error)
        if commit is not None:
            raise error(f"tag {quote(tag)} shows one commit: commit is for runs")
        return pb.Reference(tag=tag)
    if run is None:
        raise error("neither run nor tag was given: name one of them")
    check_name("run", run, error)
    if commit is not None and commit < 1:
        raise error(f"commit {commit} is not a number from 1")
    return pb.Reference(run=pb.RunReference(name=run, commit=commit or 0))


def checked_path(path: str | None, error: type[DstackError] = ArtifactsDownloadError) -> str:
    """An artifact path as the protocol has it; `""` is the root."""
    trimmed = trim_path(path or "")
    problem = path_problem(trimmed) if trimmed else None
    if problem is not None:
        raise error(f"artifact path {quote(path or '')} {problem}", reason="PATH_INVALID", metadata={"path": path or ""})
    return trimmed


class Pinned:
    """A reference that keeps to the commit which was seen first."""

    def __init__(self, reference: pb.Reference) -> None:
        self.reference = reference
        self.run = ""
        self.commit = 0

    def see(self, run: str, commit: int) -> None:
        """Notes the commit that an answer is of. One answer of another commit would mix two contents."""
        if not self.run:
            self.run, self.commit = run, commit
            # A run goes on by its commit; a tag must be asked for by its name.
            if self.reference.HasField("run"):
                self.reference = pb.Reference(run=pb.RunReference(name=run, commit=commit))
        elif (run, commit) != (self.run, self.commit):
            raise ArtifactsDownloadError("what the reference names changed while it was read: start again")
