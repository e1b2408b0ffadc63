#!/usr/bin/env bash
# Installs into .tools/ the servers that tests run against, and with them the programs that benchmarks compare us with. What is there in
# the right version stays. Needs Go, Python 3 with venv, and Node with npm; minutes the first time, since Go builds from source.
#   versitygw and LocalStack   speak Amazon S3's protocol
#   Azurite                    Azure Blob Storage's
#   fake-gcs-server            Google Cloud Storage's
#   toxiproxy                  breaks connections
#   s5cmd, rclone              transfer files to and from S3
set -euo pipefail
cd "$(dirname "$0")/.."

missing=""
for needed in go python3 node npm; do
  command -v "$needed" > /dev/null || missing="$missing $needed"
done
if [ -n "$missing" ]; then
  echo "the test servers need these programs, which are not on this machine:$missing" >&2
  exit 1
fi
mkdir -p .tools/bin
bin=$PWD/.tools/bin

# go_server NAME MODULE PACKAGE VERSION: built from source, unless the binary says that it is of that version.
go_server() {
  local name=$1 module=$2 package=$3 version=$4 built
  if [ -x "$bin/$name" ] && go version -m "$bin/$name" | grep -qE "^\s+mod\s+$module\s+$version(\s|$)"; then return; fi
  echo "building $name $version" >&2
  built=$(mktemp -d "$bin/build.XXXXXX")
  GOBIN=$built GOFLAGS=-buildvcs=false go install -trimpath -ldflags="-s -w" "$package@$version"
  mv "$built/$(basename "$package")" "$bin/$name"
  rmdir "$built"
}

# One after the other: each build uses all cores.
go_servers() {
  go_server versitygw github.com/versity/versitygw github.com/versity/versitygw/cmd/versitygw v1.8.0
  go_server fake-gcs-server github.com/fsouza/fake-gcs-server github.com/fsouza/fake-gcs-server v1.56.1
  go_server toxiproxy-server github.com/Shopify/toxiproxy/v2 github.com/Shopify/toxiproxy/v2/cmd/server v2.12.0
}

# python_programs NAME: a virtual environment of what tools/python/NAME.txt lists.
python_programs() {
  local folder=.tools/$1 list=tools/python/$1.txt
  if cmp -s "$list" "$folder/requirements.txt"; then return; fi
  echo "installing $1" >&2
  rm -rf "$folder"
  python3 -m venv "$folder"
  "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "$list"
  cp "$list" "$folder/requirements.txt"
}

azurite() {
  local folder=.tools/azurite
  if cmp -s tools/azurite/package-lock.json "$folder/installed-lock.json"; then return; fi
  echo "installing azurite" >&2
  rm -rf "$folder"
  mkdir -p "$folder"
  cp tools/azurite/package.json tools/azurite/package-lock.json tools/azurite/.npmrc "$folder/"
  (cd "$folder" && npm ci --silent)
  cp "$folder/package-lock.json" "$folder/installed-lock.json"
}

names=()
pids=()
install() {
  "$@" &
  pids+=($!)
  names+=("$*")
}
install go_servers
install python_programs localstack
install python_programs s3-peers
install azurite

failed=0
for i in "${!pids[@]}"; do
  if ! wait "${pids[$i]}"; then
    echo "could not install: ${names[$i]}" >&2
    failed=1
  fi
done
exit "$failed"
