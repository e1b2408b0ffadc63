#!/usr/bin/env bash
# Checks and tests the Python client: ruff, mypy --strict, pytest, which gets the arguments. Its tools go into .tools/python-client, and
# stay there until what they are made from changes. With --install, only that. Needs Python 3.10 or later, and what `npm ci` installs.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/node_modules/.bin:$PATH"

tools=.tools/python-client
python=$tools/bin/python
stamp=$(python3 --version && pwd && cat tools/python/dev.txt pyproject.toml)
if [ "$stamp" != "$(cat "$tools/stamp" 2>/dev/null)" ]; then
  rm -rf "$tools"
  python3 -m venv "$tools"
  "$python" -m pip install --quiet --disable-pip-version-check -r tools/python/dev.txt
  "$python" -m pip install --quiet --disable-pip-version-check --no-build-isolation --editable .
  printf '%s\n' "$stamp" > "$tools/stamp"
fi
if [ "${1:-}" = --install ]; then exit; fi

"$python" -m ruff check clients/python bench
"$python" -m ruff format --check --quiet clients/python bench
# What an installation has in one folder, for a checker that doesn't look at how packages are put together.
package=$tools/package/dstack/artifacts
rm -rf "$tools/package"
mkdir -p "$package"
ln -s "$PWD"/clients/python/dstack/artifacts/* "$PWD"/gen/python/dstack/artifacts/* "$package/"
(cd "$tools/package" && ../bin/python -m mypy --config-file ../../../pyproject.toml --cache-dir ../mypy --package dstack.artifacts)
"$python" scripts/python-docs.py --check
"$python" -m pytest "$@"
