#!/usr/bin/env bash
# Everything that a change must pass. What it needs and isn't there it installs into .tools: servers that speak each store's protocol, and
# the tools of Python and Go. Nothing is skipped: what can't be installed fails the run, by its name.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/node_modules/.bin:$PATH"

missing=""
for needed in go python3 node npm; do
  command -v "$needed" > /dev/null || missing="$missing $needed"
done
if [ -n "$missing" ]; then
  echo "the tests need these programs, which are not on this machine:$missing" >&2
  exit 1
fi

step() { echo "== $*" >&2; "$@"; }

# Mostly compiling, so it goes on beside the checks.
scripts/install-test-servers.sh &
servers=$!
step scripts/check.sh
step wait "$servers"
step scripts/test-python.sh
step scripts/test-go.sh
step npm run --silent test:ts
step npm run --silent test:faults
step node scripts/quickstart.ts
echo "everything passed" >&2
