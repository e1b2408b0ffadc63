"""What a piece of work costs its process."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable


def measured(work: Callable[[], int]) -> None:
    """Does work that tells how many bytes it moved, and prints `{bytes, seconds, cpuSeconds, peakRssBytes}` as JSON."""
    cpu_before, before = time.process_time(), time.perf_counter()
    done = work()
    figures = {
        "bytes": done,
        "seconds": time.perf_counter() - before,
        "cpuSeconds": time.process_time() - cpu_before,
        "peakRssBytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    print(json.dumps(figures))
