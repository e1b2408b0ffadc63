package artifacts

import "sync"

const (
	// Goroutines that write small files: the system calls of one overlap with those of others.
	smallWriters = 4
	// Small files that wait for one of them.
	smallWaiting = 32
)

// writers run jobs side by side.
type writers struct {
	jobs    chan func() error
	running sync.WaitGroup
	mutex   sync.Mutex
	failure error
	once    sync.Once
}

func newWriters() *writers {
	w := &writers{jobs: make(chan func() error, smallWaiting)}
	for range smallWriters {
		w.running.Go(func() {
			for job := range w.jobs {
				if err := job(); err != nil {
					w.fail(err)
				}
			}
		})
	}
	return w
}

func (w *writers) fail(err error) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if w.failure == nil {
		w.failure = err
	}
}

func (w *writers) failed() error {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return w.failure
}

// do runs a job when there is room; it returns the failure of an earlier one.
func (w *writers) do(job func() error) error {
	w.jobs <- job
	return w.failed()
}

// wait returns when all jobs are done, with the first failure.
func (w *writers) wait() error {
	w.once.Do(func() { close(w.jobs) })
	w.running.Wait()
	return w.failed()
}
