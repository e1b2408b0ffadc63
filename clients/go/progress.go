package artifacts

import "time"

// reportEvery is how much time lies between two reports of progress.
const reportEvery = 100 * time.Millisecond

// Progress is how far a transfer is.
type Progress struct {
	// Path is the artifact path of the newest file.
	Path string
	// Files that are through, links included, and their number in all; -1 if that isn't known.
	Files, TotalFiles int64
	// Bytes that are through, those that were there already included, and their number in all; -1 if that isn't known. After a lost
	// connection an upload counts from the start again, much faster.
	Bytes, TotalBytes int64
}

// meter counts what goes through a transfer and reports it now and then.
type meter struct {
	Progress
	report func(Progress)
	next   time.Time
}

func (m *meter) add(bytes int) {
	m.Bytes += int64(bytes)
	if m.report == nil {
		return
	}
	if now := time.Now(); now.After(m.next) {
		m.next = now.Add(reportEvery)
		m.report(m.Progress)
	}
}

// done reports the end.
func (m *meter) done() {
	if m.report != nil {
		m.report(m.Progress)
	}
}
