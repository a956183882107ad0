#!/usr/bin/env bash
# `npm run check` without the tests: format, lint, floors, types, unused code. `--fix`: mends what can be mended.
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

if [ "${1-}" = --fix ]; then
  node_modules/.bin/biome check --write
  "$PYTHON_TOOLS/bin/ruff" check --fix
  "$PYTHON_TOOLS/bin/ruff" format
  exit
fi

failed=()
check() {
  printf 'check: %s\n' "${*##*/}"
  "$@" || failed+=("${*##*/}")
}
check node_modules/.bin/biome check --error-on-warnings
check node_modules/.bin/tsc --noEmit
check node_modules/.bin/knip
check "$PYTHON_TOOLS/bin/ruff" check --quiet
check "$PYTHON_TOOLS/bin/ruff" format --check --quiet
check "$PYTHON_TOOLS/bin/mypy" --no-error-summary

if [ ${#failed[@]} -gt 0 ]; then
  printf 'check FAILED: %s\n' "${failed[@]}" >&2
  exit 1
fi
