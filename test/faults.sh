#!/usr/bin/env bash
# `npm run test:faults`: every fault, one row each, and the endurance run; `-- NAME` only the rows whose name holds NAME;
# `-- --prove` (with or without NAME) runs each row without the protection it names, and demands that it fails.
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

files=(test/faults)
names=()
export FAULTS=all
for word in "$@"; do
  case $word in
    --prove)
      export FAULTS_PROVE=1
      files=(test/faults/matrix.test.ts)
      ;;
    -*) give_up "unknown option $word: npm run test:faults [-- [--prove] [NAME]]" ;;
    *) names=(-t "$word") ;;
  esac
done

[ "$(id -u)" -eq 0 ] || give_up 'npm run test:faults mounts filesystems: run it as root'
npm run --silent build || give_up 'npm run test:faults FAILED: the build'
node_modules/.bin/vitest run --reporter=verbose "${files[@]}" "${names[@]}" || give_up 'npm run test:faults FAILED'
echo 'npm run test:faults: all passed'
