//go:build darwin || freebsd || netbsd

package artifacts

import (
	"os"
	"syscall"
	"time"
)

// changeTime is when a file last changed, its mode and times included; unlike the modification time, nobody can set it.
func changeTime(info os.FileInfo) time.Time {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return time.Unix(stat.Ctimespec.Unix())
	}
	return time.Time{}
}
