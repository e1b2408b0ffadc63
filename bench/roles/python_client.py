"""
The Python client at work: `upload LOCAL RUN` (as `f`, if it is a file) or `download RUN LOCAL`, at the server that DSTACK_ARTIFACTS_URL
names. Prints what that took as JSON.
"""

from __future__ import annotations

import os
import sys

from dstack import artifacts
from python_usage import measured


def main(direction: str, *paths: str) -> None:
    # The first call loads gRPC and connects.
    artifacts.server_info()
    if direction == "upload":
        local, run = paths
        measured(lambda: artifacts.upload(local, "f" if os.path.isfile(local) else "", run=run, progress=False).bytes)
    else:
        run, local = paths
        measured(lambda: artifacts.download(run, local_path=local, progress=False).bytes)


if __name__ == "__main__":
    main(*sys.argv[1:])
