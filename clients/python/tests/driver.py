"""
The client as a command, for tests that compare languages: `upload LOCAL ARTIFACT_PATH TAG [--symlinks preserve]` or `download TAG LOCAL`.
The environment says which server. Prints the result as JSON; an error is one line on stderr and exit code 1.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys

from dstack import artifacts


def main() -> int:
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    upload = commands.add_parser("upload")
    upload.add_argument("local_path")
    upload.add_argument("artifact_path")
    upload.add_argument("tag")
    upload.add_argument("--symlinks", default="follow")
    download = commands.add_parser("download")
    download.add_argument("tag")
    download.add_argument("local_path")
    given = vars(parser.parse_args())
    do = {"upload": artifacts.upload, "download": artifacts.download}[given.pop("command")]
    try:
        result = do(**given)
    except artifacts.DstackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(dataclasses.asdict(result)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
