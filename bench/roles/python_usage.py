"""What a piece of work costs its process."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path


def measured(work: Callable[[], int]) -> None:
    """Does work that tells how many bytes it moved, and prints `{bytes, seconds, cpuSeconds, peakRssBytes}` as JSON."""
    cpu_before, before = time.process_time(), time.perf_counter()
    done = work()
    figures = {
        "bytes": done,
        "seconds": time.perf_counter() - before,
        "cpuSeconds": time.process_time() - cpu_before,
        "peakRssBytes": peak_rss_bytes(),
    }
    print(json.dumps(figures))


def peak_rss_bytes() -> int:
    """The most memory that this process had. Not getrusage's: that remembers the process which started this one."""
    return int(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[0]) * 1024
