#!/usr/bin/env bash
# `npm test`: all tests; with arguments (`npm test -- test/config`) only vitest, with them.
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

# One file of unit tests on one interpreter. What it says comes in one piece, because others run beside it; through a
# file, because a process that a test left behind would hold a pipe open.
unit_tests() {
  local python=$1 file=$2 log output code=0
  log=$(mktemp)
  # each looks at every supervisord of the machine, and would find another's
  if [[ ${file##*/} =~ ^test_(accounts|managed|supervisor)\.py$ ]]; then exec 9<test/target && flock 9; fi
  timeout -k 10 600 "$python" -m unittest discover -s test/target -p "${file##*/}" >"$log" 2>&1 9<&- || code=$?
  output=$(<"$log")
  rm "$log"
  if [[ $output == *'Ran 0 tests'* ]]; then code=1; fi
  if [ "$code" -eq 0 ]; then output=$(grep '^Ran ' <<<"$output"); fi
  if [ "$code" -eq 124 ]; then output+=$'\nnot ended after 600 seconds'; fi
  printf '%s, %s: %s\n' "${file##*/}" "$("$python" --version)" "$output"
  return "$code"
}

target_tests() {
  local python file
  for python in "${TARGET_PYTHONS[@]}"; do
    for file in test/target/test_*.py; do printf '%s\0' "$python" "$file"; done
  done | xargs -0 -n 2 -P 2 bash -c 'unit_tests "$@"' unit_tests
}
export -f unit_tests
export PYTHONDONTWRITEBYTECODE=1

failed=()
npm run --silent build || give_up 'npm test FAILED: the build'
if [ $# -eq 0 ]; then
  target_tests || failed+=("the target's unit tests")
fi
node_modules/.bin/vitest run "$@" || failed+=(vitest)

if [ ${#failed[@]} -gt 0 ]; then
  printf 'npm test FAILED: %s\n' "${failed[@]}" >&2
  exit 1
fi
echo 'npm test: all passed'
