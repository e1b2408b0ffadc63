"""One client's load: uploads, downloads and compares until its standard input ends, and tells of each run in a line of JSON.

Usage: load.py URL NAME
"""

from __future__ import annotations

import filecmp
import json
import os
import random
import shutil
import sys
import tempfile
import threading

from dstack.artifacts import Client, DstackError

SIZES = [0, 1, 700, 4_096, 70_000, 300_000, 3_000_000]
KEPT_RUNS = 5


def main() -> None:
    url, name = sys.argv[1:]
    client = Client(url, timeout=120)
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    kept: list[str] = []
    folder = tempfile.mkdtemp()
    number = 0
    while not stop.is_set():
        number += 1
        run = f"{name}-{number}"
        source, target = os.path.join(folder, "source"), os.path.join(folder, "target")
        shutil.rmtree(source, ignore_errors=True)
        shutil.rmtree(target, ignore_errors=True)
        os.mkdir(source)
        for i in range(random.randint(3, 20)):
            with open(os.path.join(source, f"file {i}"), "wb") as file:
                file.write(random.randbytes(random.choice(SIZES)))
        try:
            result = client.upload(source, "", run=run)
            tell(acknowledged=run, files=result.files)
            kept.append(run)
            client.download(run=run, local_path=target)
            same = filecmp.cmpfiles(source, target, os.listdir(source), shallow=False)
            if same[1] or same[2]:
                tell(wrong=f"{run}: {same[1:]}")
            if len(kept) > KEPT_RUNS:
                oldest = kept.pop(0)
                tell(deleting=oldest)
                client.delete_run(oldest)
        except DstackError as error:
            tell(failed=str(error))
    client.close()
    shutil.rmtree(folder)


def tell(**what: object) -> None:
    print(json.dumps(what), flush=True)


main()
