package artifacts

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"
)

// ownerMay is what the owner of a folder must be allowed to, to fill it.
const ownerMay fs.FileMode = 0o700

// enter opens the folder at rel, making what is missing. With force, a folder there that its owner may not change is made so that he
// may, because its mode is set in the end.
func (t *tree) enter(rel string, force bool) (*folder, error) {
	for len(t.stack) > 1 && !isWithin(rel, t.top().rel) {
		t.top().release()
		t.stack = t.stack[:len(t.stack)-1]
	}
	for t.top().rel != rel {
		top := t.top()
		name, _, more := strings.Cut(strings.TrimPrefix(rel[len(top.rel):], "/"), "/")
		next := joinPath(top.rel, name)
		f := &folder{rel: next, hasMode: force && !more}
		err := top.change(func() (err error) {
			f.root, err = t.openFolder(top.root, next, f.hasMode)
			return err
		})
		if err != nil {
			return nil, t.folderFailure(next, err)
		}
		f.refs.Store(1)
		t.stack = append(t.stack, f)
	}
	return t.top(), nil
}

func (t *tree) top() *folder { return t.stack[len(t.stack)-1] }

var (
	errIsLink = errors.New("is a link: nothing is written through links")
	errIsFile = errors.New("is not a folder here, but one in the artifact")
)

func (t *tree) openFolder(parent *os.Root, rel string, force bool) (*os.Root, error) {
	name := path.Base(rel)
	err := parent.Mkdir(name, 0o777)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	if err != nil {
		info, err := parent.Lstat(name)
		switch {
		case err != nil:
			return nil, err
		case info.Mode().Type() == fs.ModeSymlink:
			return nil, errIsLink
		case !info.IsDir():
			return nil, errIsFile
		case force && info.Mode().Perm()&ownerMay != ownerMay:
			if err := parent.Chmod(name, info.Mode()&(specialBits|fs.ModePerm)|ownerMay); err != nil {
				return nil, err
			}
			t.modes[rel] = info.Mode().Perm()
		}
	}
	return parent.OpenRoot(name)
}

func (t *tree) folderFailure(rel string, err error) error {
	if err == errIsLink || err == errIsFile {
		return failf("%s %w", quote(t.display(rel)), err)
	}
	return writeFailure(t.display(rel), err)
}

// place gives the folder and the name that an entry which is no folder goes to.
func (t *tree) place(path string) (*folder, string, error) {
	rel := t.rel(path)
	if rel == "" {
		return nil, "", protocolError("a file where a folder was asked for")
	}
	slash := strings.LastIndexByte(rel, '/')
	f, err := t.enter(rel[:max(slash, 0)], false)
	return f, rel[slash+1:], err
}
