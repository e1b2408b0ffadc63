#!/usr/bin/env bash
# Everything that a change of Go code must pass: format, vet, staticcheck, the reference in docs/go.md, and the tests with the race detector.
# With --long also what takes minutes: memory for large and for many files, connections that fall silent.
set -euo pipefail
cd "$(dirname "$0")/.."
packages=(./clients/go/... ./gen/go/... ./examples/... ./bench/roles/go/...)

unformatted=$(gofmt -l clients/go examples bench/roles/go)
if [ -n "$unformatted" ]; then
  echo "not formatted by gofmt: $unformatted" >&2
  exit 1
fi
go mod tidy -diff
go vet "${packages[@]}"
go vet -tags long ./clients/go/...
go tool -modfile=tools/go/go.mod staticcheck -tags long "${packages[@]}"
go run ./clients/go/internal/apidoc --check
# The servers that the tests start are not among what go test looks at for its cache, hence -count=1.
go test -race -count=1 "${packages[@]}"
if [ "${1:-}" = --long ]; then
  go test -count=1 -v -tags long -run TestLong -timeout 20m ./clients/go
fi
