#!/usr/bin/env bash
# Makes gen/ from proto/: TypeScript, Python and Go. With --check, fails if gen/ is not what it would make.
# Needs Go, Python 3 and what `npm ci` installs; puts its own tools into .tools/generate.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/node_modules/.bin:$PATH"

tools=.tools/generate
python=$tools/bin/python
if ! cmp -s tools/python/requirements.txt "$tools/requirements.txt"; then
  rm -rf "$tools"
  python3 -m venv "$tools"
  "$python" -m pip install --quiet --disable-pip-version-check -r tools/python/requirements.txt
  cp tools/python/requirements.txt "$tools/requirements.txt"
fi
mkdir -p "$tools/protos/google/rpc"
rpc=$("$python" -c 'import google.rpc; print(list(google.rpc.__path__)[0])')
cp "$rpc/status.proto" "$rpc/error_details.proto" "$tools/protos/google/rpc/"

# Where gen/ goes: here, or for a check into a folder that is compared with it.
target=.
if [ "${1:-}" = --check ]; then
  target=$tools/check
  rm -rf "$target"
fi
buf generate --template buf.gen.ts.yaml -o "$target"
buf generate --template buf.gen.go.yaml -o "$target"

python_out=$target/gen/python
rm -rf "$python_out/dstack"
mkdir -p "$python_out"
PATH="$PWD/$tools/bin:$PATH" "$python" -m grpc_tools.protoc --proto_path=proto \
  --python_out="$python_out" --pyi_out="$python_out" --grpc_python_out="$python_out" --mypy_grpc_out="$python_out" \
  proto/dstack/artifacts/v1/*.proto
: > "$python_out/dstack/artifacts/v1/__init__.py"

if [ "$target" != . ] && ! diff -r --exclude __pycache__ "$target/gen" gen; then
  echo "gen/ is not current: run npm run generate" >&2
  exit 1
fi
