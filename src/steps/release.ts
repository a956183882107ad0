import { sh } from '../shell.ts';
import type { Step } from './step.ts';

/** Lays out the commit's tree as a new release. The undo never removes what is live or what a process lives in. */
export const release: Step = {
  name: 'release',
  title: 'Make the release',
  orphan: 'kill',
  run: () => sh`
    program repository.py export`,
  undo: () => sh`
    [ "$(live)" != "$RELEASE" ] || fail "releases/$RELEASE is live, so it stays"
    if ls -l /proc/[0-9]*/cwd 2>/dev/null | grep -qF "$PWD/releases/$RELEASE"; then
      answer warning "a process still runs in releases/$RELEASE: it stays until a later deploy cleans up"
    else
      rm -rf "releases/\${RELEASE:?}"
    fi`,
};
