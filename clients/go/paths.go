package artifacts

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode/utf8"
)

const (
	// Bytes of UTF-8 in an artifact path.
	maxPathBytes = 1024
	// Bytes of UTF-8 in one segment of it: what file systems take.
	maxSegmentBytes = 255
	// Bytes in a link's target.
	maxLinkTargetBytes = 4096
)

var (
	namePattern     = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)
	uploadIDPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{16,64}$`)
)

// nameProblem tells what is wrong with the name of a project, run or tag, for a sentence after it; "" if nothing.
func nameProblem(name string) string {
	switch {
	case name == "":
		return "is empty"
	case !namePattern.MatchString(name):
		return "must be 1 to 128 letters, digits, `.`, `_` or `-`, and start with a letter, a digit or `_`"
	}
	return ""
}

// trimPath gives a path without its one leading and its one trailing slash; the root, however it is written, is "".
func trimPath(path string) string {
	if path == "." || path == "/" {
		return ""
	}
	return strings.TrimSuffix(strings.TrimPrefix(path, "/"), "/")
}

// pathProblem tells what is wrong with a trimmed path, for a sentence after it; "" if nothing. The root isn't a path here.
func pathProblem(path string) string {
	switch {
	case path == "":
		return "is the root, as which one file can't be stored"
	case !utf8.ValidString(path):
		return "is not valid Unicode"
	case len(path) > maxPathBytes:
		return fmt.Sprintf("is longer than %d bytes", maxPathBytes)
	}
	for _, r := range path {
		if r < 0x20 || (r >= 0x7f && r <= 0x9f) {
			return "has a control character"
		}
		if r == '\\' {
			return "has a backslash"
		}
	}
	for segment := range strings.SplitSeq(path, "/") {
		switch {
		case segment == "":
			return "has an empty segment"
		case segment == "." || segment == "..":
			return "has a `" + segment + "` segment"
		case len(segment) > maxSegmentBytes:
			return fmt.Sprintf("has a segment longer than %d bytes", maxSegmentBytes)
		}
	}
	return ""
}

// comparePaths orders paths segment by segment, so that a folder comes right before what is in it: `/` before every other byte.
func comparePaths(a, b string) int {
	for i := range min(len(a), len(b)) {
		if a[i] == b[i] {
			continue
		}
		switch {
		case a[i] == '/':
			return -1
		case b[i] == '/':
			return 1
		}
		return int(a[i]) - int(b[i])
	}
	return len(a) - len(b)
}

// isWithin says whether path is folder or lies in it; everything lies in the root.
func isWithin(path, folder string) bool {
	return folder == "" || path == folder || strings.HasPrefix(path, folder+"/")
}

// joinPath joins two artifact paths, either of which may be the root.
func joinPath(folder, name string) string {
	if folder == "" || name == "" {
		return folder + name
	}
	return folder + "/" + name
}

// linkProblem tells what is wrong with the target of a link at path, which must stay inside the tree that path is relative to; "" if
// nothing.
func linkProblem(path, target string) string {
	switch {
	case target == "":
		return "has no target"
	case len(target) > maxLinkTargetBytes:
		return fmt.Sprintf("has a target longer than %d bytes", maxLinkTargetBytes)
	case !utf8.ValidString(target) || strings.ContainsRune(target, 0):
		return "has a target that is not valid Unicode"
	case strings.HasPrefix(target, "/"):
		return "has an absolute target, which leads outside"
	}
	depth := strings.Count(path, "/")
	for segment := range strings.SplitSeq(target, "/") {
		switch segment {
		case "", ".":
		case "..":
			if depth--; depth < 0 {
				return "has a target that leads outside"
			}
		default:
			depth++
		}
	}
	return ""
}

// quote shows a path on one line, whatever is in it.
func quote(path string) string { return fmt.Sprintf("%q", path) }

// expandHome replaces a leading `~` by the user's home.
func expandHome(path string) (string, error) {
	if path != "~" && !strings.HasPrefix(path, "~/") {
		return path, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", failf("%s: ~ has no meaning here: %w", quote(path), err)
	}
	return home + path[1:], nil
}

// uploadPath is where an upload of localPath goes; the root is "". given is what the caller said, nil if nothing: then it comes from the
// local path, without looking at the disk.
func uploadPath(localPath string, given *string, isFile bool) (string, error) {
	path, shown := "", localPath
	if given != nil {
		path, shown = trimPath(*given), *given
	} else {
		var err error
		if path, err = defaultArtifactPath(localPath); err != nil {
			return "", err
		}
	}
	if path == "" && !isFile {
		return "", nil
	}
	if problem := pathProblem(path); problem != "" {
		return "", invalidPath(shown, problem)
	}
	return path, nil
}

func defaultArtifactPath(localPath string) (string, error) {
	clean := filepath.ToSlash(filepath.Clean(localPath))
	if clean == ".." || strings.HasPrefix(clean, "../") {
		return "", failf("%s lies outside the working directory: give artifact_path (WithArtifactPath) to say where it goes in the run", quote(localPath))
	}
	if volume := filepath.VolumeName(localPath); volume != "" {
		clean = clean[len(volume):]
	}
	if clean == "." {
		return "", nil
	}
	return strings.TrimPrefix(clean, "/"), nil
}
