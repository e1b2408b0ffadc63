package artifacts_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	artifacts "github.com/dstackai/dstack-artifacts/clients/go"
	artifactsv1 "github.com/dstackai/dstack-artifacts/gen/go/dstack/artifacts/v1"
)

// waitFor returns the one file of a pattern once it has so many bytes.
func waitFor(t *testing.T, pattern string, size int64) string {
	for begun := time.Now(); time.Since(begun) < patience; time.Sleep(time.Millisecond) {
		found, _ := filepath.Glob(pattern)
		if len(found) != 1 {
			continue
		}
		if info, err := os.Stat(found[0]); err == nil && info.Size() == size {
			return found[0]
		}
	}
	t.Errorf("there is no %s of %d bytes", pattern, size)
	return ""
}

// checkUntouched says whether a file is as makeMine left it.
func checkUntouched(t *testing.T, path string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil || string(content) != "mine" {
		t.Errorf("%d bytes, %v", len(content), err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 || !info.ModTime().Equal(longAgo) {
		t.Errorf("%v, %v, %v", info.Mode(), info.ModTime(), err)
	}
}

var longAgo = time.Unix(1_000_000_000, 0)

// makeMine has a file be the user's own.
func makeMine(path string) error {
	return errors.Join(os.WriteFile(path, []byte("mine"), 0o600), os.Chmod(path, 0o600), os.Chtimes(path, longAgo, longAgo))
}

// Another download may finish the partial file, and the user goes on with it.
func TestAFileThatIsOursNoMoreIsLeftAlone(t *testing.T) {
	t.Parallel()
	// As much as is written at once, so that all of it is before the next one is sent.
	const part = 256 << 10
	chunks := [][]byte{seeded(1, part), seeded(2, part), seeded(3, part), seeded(4, part)}
	content := bytes.Join(chunks, nil)
	for name, before := range map[string]int{"while it is written": 2, "before it is done": 4} {
		for how, act := range map[string]func(partial, final, mine string) error{
			"renamed": func(partial, _, mine string) error { return os.Rename(partial, mine) },
			"finished and edited": func(partial, final, mine string) error {
				return errors.Join(os.Rename(partial, final), os.Link(final, mine))
			},
		} {
			t.Run(how+" "+name, func(t *testing.T) {
				t.Parallel()
				out, mine := t.TempDir(), filepath.Join(t.TempDir(), "mine")
				of := append([]*artifactsv1.DownloadResponse{start("r", 1)}, fileIn("a", chunks...)...)
				taking := &hostileServer{messages: append(of, finish(1)), before: map[int]func(){before + 2: func() {
					partial := waitFor(t, filepath.Join(out, ".*.partial"), int64(before*part))
					if err := errors.Join(act(partial, filepath.Join(out, "a"), mine), makeMine(mine)); err != nil {
						t.Error(err)
					}
				}}}
				c := clientOf(t, serve(t, taking))
				if _, err := c.Download(testContext(t), artifacts.Run("r"), artifacts.WithLocalPath(out)); err != nil {
					t.Error(err)
				}
				checkUntouched(t, mine)
				if got, err := os.ReadFile(filepath.Join(out, "a")); err != nil || !bytes.Equal(got, content) {
					t.Errorf("%d bytes that are not those sent, %v", len(got), err)
				}
			})
		}
	}
}

func TestAFileThatAnotherDownloadFinishedIsNotFetchedAgain(t *testing.T) {
	t.Parallel()
	p := startProxy(t, sharedServer(t))
	c := p.client(t, artifacts.WithProject(newProject()))
	source, out := t.TempDir(), t.TempDir()
	write(t, filepath.Join(source, "a"), repeated(largeBytes))
	write(t, filepath.Join(source, "b"), []byte("b"))
	if _, err := c.Upload(testContext(t), source, artifacts.WithArtifactPath(""), artifacts.WithRun("r")); err != nil {
		t.Fatal(err)
	}
	// The one that is alone is the last one: nothing is left to ask for.
	for name, options := range map[string][]artifacts.DownloadOption{"many": nil, "alone": {artifacts.WithArtifactPath("a")}} {
		folder := filepath.Join(out, name)
		var finish sync.Once
		progress := func(now artifacts.Progress) {
			if now.Path != "a" || now.Bytes == 0 {
				// The next report comes with the first bytes: one each 100 ms is due by then.
				time.Sleep(100 * time.Millisecond)
				return
			}
			finish.Do(func() {
				partials, err := filepath.Glob(filepath.Join(folder, ".*.partial"))
				if err != nil || len(partials) != 1 {
					t.Errorf("%q, %v", partials, err)
					return
				}
				err = os.WriteFile(partials[0], repeated(largeBytes), 0o600)
				if err = errors.Join(err, os.Rename(partials[0], filepath.Join(folder, "a"))); err != nil {
					t.Error(err)
				}
			})
		}
		options = append(options, artifacts.WithLocalPath(folder+"/"), artifacts.WithProgress(progress))
		p.down.set(nil)
		d, err := c.Download(testContext(t), artifacts.Run("r"), options...)
		if err != nil || name == "many" && (d.Files != 2 || d.Bytes != largeBytes+1) || name == "alone" && (d.Files != 1 || d.Bytes != largeBytes) {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
		if got := p.down.bytes.Load(); got > largeBytes/2 {
			t.Errorf("%s: %d bytes were fetched", name, got)
		}
		if got, err := os.ReadFile(filepath.Join(folder, "a")); err != nil || !bytes.Equal(got, repeated(largeBytes)) {
			t.Errorf("%s: %d bytes that are not those uploaded, %v", name, len(got), err)
		}
		if info, err := os.Stat(filepath.Join(folder, "a")); err != nil || info.Mode() != 0o644 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

func TestAFileThatChangesAfterItWasComparedIsFetched(t *testing.T) {
	t.Parallel()
	content := seeded(1, 1_000_000)
	for name, act := range map[string]func(file, mine string) error{
		"bytes, with the time kept": func(file, _ string) error {
			info, err := os.Stat(file)
			if err != nil {
				return err
			}
			changed := append(bytes.Clone(content[1:]), 'x')
			return errors.Join(os.WriteFile(file, changed, 0), os.Chtimes(file, time.Time{}, info.ModTime()))
		},
		"another file, with size and time kept": func(file, mine string) error {
			info, err := os.Stat(file)
			if err != nil {
				return err
			}
			other := file + "-other"
			changed := append(bytes.Clone(content[1:]), 'x')
			return errors.Join(os.WriteFile(other, changed, 0o644), os.Chtimes(other, time.Time{}, info.ModTime()), os.Rename(other, file))
		},
		"nothing there": func(file, _ string) error { return os.Remove(file) },
		"a link": func(file, mine string) error {
			inside := filepath.Join(filepath.Dir(file), "mine")
			return errors.Join(os.Remove(file), makeMine(inside), os.Link(inside, mine), os.Symlink("mine", file))
		},
		"a second name": func(file, mine string) error { return errors.Join(os.Link(file, mine), makeMine(mine)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t)
			if _, err := c.UploadReader(testContext(t), "a", bytes.NewReader(content), artifacts.WithRun("r")); err != nil {
				t.Fatal(err)
			}
			out, mine := t.TempDir(), filepath.Join(t.TempDir(), "mine")
			file := filepath.Join(out, "a")
			write(t, file, content)
			var once sync.Once
			// The first report is that the file begins; it was compared by then.
			progress := func(artifacts.Progress) {
				once.Do(func() {
					if err := act(file, mine); err != nil {
						t.Error(err)
					}
				})
			}
			_, err := c.Download(testContext(t), artifacts.Run("r"), artifacts.WithLocalPath(out), artifacts.WithProgress(progress))
			if err != nil {
				t.Error(err)
			}
			if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, content) {
				t.Errorf("%d bytes that are not those uploaded, %v", len(got), err)
			}
			if _, err := os.Stat(mine); err == nil {
				checkUntouched(t, mine)
			}
		})
	}
}

// Other downloads set the mode of what they find, and replace it by the same.
func TestAFileThatIsRightAfterAChangeIsNotFetched(t *testing.T) {
	t.Parallel()
	content := seeded(1, 1_000_000)
	for name, act := range map[string]func(file string) error{
		"its mode": func(file string) error { return os.Chmod(file, 0o600) },
		"another file of the same bytes": func(file string) error {
			return errors.Join(os.WriteFile(file+"-other", content, 0o600), os.Rename(file+"-other", file))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startProxy(t, sharedServer(t))
			c := p.client(t, artifacts.WithProject(newProject()))
			if _, err := c.UploadReader(testContext(t), "a", bytes.NewReader(content), artifacts.WithRun("r")); err != nil {
				t.Fatal(err)
			}
			out := t.TempDir()
			file := filepath.Join(out, "a")
			write(t, file, content)
			var once sync.Once
			progress := func(artifacts.Progress) {
				once.Do(func() {
					if err := act(file); err != nil {
						t.Error(err)
					}
				})
			}
			p.down.set(nil)
			d, err := c.Download(testContext(t), artifacts.Run("r"), artifacts.WithLocalPath(out), artifacts.WithProgress(progress))
			if err != nil || d.Files != 1 || d.Bytes != int64(len(content)) {
				t.Errorf("%+v, %v", d, err)
			}
			if got := p.down.bytes.Load(); got > int64(len(content))/2 {
				t.Errorf("%d bytes were fetched", got)
			}
			if info, err := os.Stat(file); err != nil || info.Mode() != 0o644 {
				t.Errorf("%v, %v", info.Mode(), err)
			}
		})
	}
}

// Setting what is set already would need to be allowed to, and changes the time of the last change.
func TestAFileThatIsAsItShouldBeIsNotTouched(t *testing.T) {
	t.Parallel()
	project := newProject()
	c := clientOf(t, sharedServer(t), artifacts.WithProject(project))
	dir, source := shortDir(t), t.TempDir()
	out := filepath.Join(dir, "out")
	write(t, filepath.Join(source, "a"), seeded(1, 1_000))
	if err := errors.Join(os.Chtimes(filepath.Join(source, "a"), longAgo, longAgo), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Upload(testContext(t), source, artifacts.WithArtifactPath(""), artifacts.WithRun("r")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Download(testContext(t), artifacts.Run("r"), artifacts.WithLocalPath(out)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(out, 0o777); err != nil {
		t.Fatal(err)
	}
	p := startProxy(t, sharedServer(t))
	file := filepath.Join(out, "a")
	was, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	download := func() os.FileInfo {
		t.Helper()
		if said, err := asAnyUser(t, "download", p.url, project, "r", out); err != nil {
			t.Fatalf("%v: %s", err, said)
		}
		sameTree(t, source, out)
		info, err := os.Stat(file)
		if err != nil || info.Mode() != 0o644 || !info.ModTime().Equal(longAgo) {
			t.Errorf("%v, %v, %v", info.Mode(), info.ModTime(), err)
		}
		return info
	}
	if is := download(); !os.SameFile(was, is) {
		t.Error("it is another file now")
	}
	// What has another mode or time and belongs to somebody else makes way.
	if err := os.Chmod(file, 0o664); err != nil {
		t.Fatal(err)
	}
	download()
	if err := os.Chtimes(file, time.Time{}, time.Now()); err != nil {
		t.Fatal(err)
	}
	download()
}

// Another download that is through gives a folder its mode while this one is still at work in it.
func TestAFolderThatBecomesReadOnlyMeanwhileIsFilled(t *testing.T) {
	t.Parallel()
	const part = 256 << 10
	large := fileIn("d/b", seeded(1, part))
	of := func(messages ...*artifactsv1.DownloadResponse) []*artifactsv1.DownloadResponse { return messages }
	for name, messages := range map[string][]*artifactsv1.DownloadResponse{
		"a small file":       fileOf("d/b"),
		"a large file":       large,
		"a link":             of(linkOf("d/b", "a")),
		"a folder":           of(folderOf("d/b", 0o755)),
		"a file in a folder": fileOf("d/b/c"),
		"the name of a file": large,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := shortDir(t)
			out := filepath.Join(dir, "out")
			if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(out, 0o755), os.Chmod(out, 0o777)); err != nil {
				t.Fatal(err)
			}
			all := append(of(start("r", 1), folderOf("d", 0o555)), fileOf("d/a")...)
			at, wait := len(all), func() { waitFor(t, filepath.Join(out, "d/a"), 1) }
			if name == "the name of a file" {
				at, wait = len(all)+2, func() { waitFor(t, filepath.Join(out, "d/.*.partial"), part) }
			}
			files := uint64(2)
			if name == "a folder" {
				files = 1
			}
			server := &hostileServer{messages: append(append(all, messages...), finish(files)), before: map[int]func(){at: func() {
				wait()
				if err := os.Chmod(filepath.Join(out, "d"), 0o555); err != nil {
					t.Error(err)
				}
			}}}
			if said, err := asAnyUser(t, "download", serve(t, server).url, "p", "r", out); err != nil {
				t.Errorf("%v: %s", err, said)
			}
			if _, err := os.Lstat(filepath.Join(out, "d/b")); err != nil {
				t.Error(err)
			}
			if info, err := os.Stat(filepath.Join(out, "d")); err != nil || info.Mode() != fs.ModeDir|0o555 {
				t.Errorf("%v, %v", info.Mode(), err)
			}
		})
	}
}
