package artifacts

import (
	"fmt"

	artifactsv1 "github.com/dstackai/dstack-artifacts/gen/go/dstack/artifacts/v1"
)

// Ref names what is read: a run at a commit, or a tag. Make it with [Run] or [Tag]; the zero Ref names nothing.
type Ref struct {
	kind   refKind
	name   string
	commit uint64
}

type refKind int

const (
	noRef refKind = iota
	runRef
	tagRef
)

// Run names a run at its newest commit.
func Run(name string) Ref { return Ref{kind: runRef, name: name} }

// Tag names a tag.
func Tag(name string) Ref { return Ref{kind: tagRef, name: name} }

// At names the run at one of its commits, from 1. It has no meaning for a tag.
func (r Ref) At(commit uint64) Ref {
	r.commit = commit
	return r
}

// String gives the reference as the command line writes it: RUN, RUN@COMMIT or :TAG.
func (r Ref) String() string {
	switch {
	case r.kind == tagRef:
		return ":" + r.name
	case r.commit > 0:
		return fmt.Sprintf("%s@%d", r.name, r.commit)
	}
	return r.name
}

func (r Ref) check() error {
	kind := "run"
	switch r.kind {
	case noRef:
		return failf("neither run nor tag was given: name one of them by artifacts.Run or artifacts.Tag")
	case tagRef:
		if r.commit > 0 {
			return failf("tag %q has one commit: At is for runs", r.name)
		}
		kind = "tag"
	}
	if problem := nameProblem(r.name); problem != "" {
		return invalidName(kind, r.name, problem)
	}
	return nil
}

func (r Ref) proto() *artifactsv1.Reference {
	if r.kind == tagRef {
		return &artifactsv1.Reference{Target: &artifactsv1.Reference_Tag{Tag: r.name}}
	}
	return &artifactsv1.Reference{Target: &artifactsv1.Reference_Run{Run: &artifactsv1.RunReference{Name: r.name, Commit: r.commit}}}
}

// pinned is a reference that keeps to the commit which was seen first.
type pinned struct {
	ref    Ref
	run    string
	commit uint64
}

// see notes the commit that an answer is of. One answer of another commit would mix two contents.
func (p *pinned) see(run string, commit uint64) error {
	if p.run == "" {
		p.run, p.commit = run, commit
		if p.ref.kind == runRef {
			p.ref.commit = commit
		}
		return nil
	}
	if p.run != run || p.commit != commit {
		return failf("what %s names changed while it was read: start again", p.ref)
	}
	return nil
}

// checkedPath trims an artifact path and refuses one that can't be.
func checkedPath(path string) (string, error) {
	trimmed := trimPath(path)
	if trimmed == "" {
		return "", nil
	}
	if problem := pathProblem(trimmed); problem != "" {
		return "", invalidPath(path, problem)
	}
	return trimmed, nil
}
