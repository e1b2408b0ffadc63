//go:build unix

package artifacts

import (
	"os"
	"syscall"
)

// names is how many names a file has: hard links.
func names(info os.FileInfo) uint64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(stat.Nlink)
	}
	return 1
}
