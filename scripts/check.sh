#!/usr/bin/env bash
# Everything that can be said of the code without running it.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/node_modules/.bin:$PATH"

tsc --project tsconfig.json
biome check .
depcruise --config .dependency-cruiser.cjs src | tee /dev/stderr | grep -Eq '\([1-9][0-9]* modules' || {
  echo "dependency-cruiser looked at no modules" >&2
  exit 1
}
knip
buf lint
buf format --diff --exit-code proto
# Against the newest release; before the first there is nothing to break.
release=$(git tag --list 'v*' --sort=-v:refname | head -n 1)
if [ -n "$release" ]; then buf breaking --against ".git#tag=$release"; fi
scripts/generate.sh --check

version=$(node -p 'require("./package.json").version')
if ! grep -qx "version = \"$version\"" pyproject.toml; then
  echo "pyproject.toml and package.json have different versions" >&2
  exit 1
fi
