#!/usr/bin/env bash
# Makes dist/, which is what the package holds: JavaScript, declarations and the bin.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/node_modules/.bin:$PATH"

rm -rf dist
tsc --project tsconfig.build.json
chmod +x dist/src/main.js
