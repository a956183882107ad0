import { RUN_FILES } from '../layout.ts';
import { program, sh } from '../shell.ts';
import type { Step } from './step.ts';

/** Lays out the commit's tree as a new release. The undo never removes what is live or what a process lives in. */
export const release: Step = {
  name: 'release',
  title: 'Make the release',
  orphan: 'kill',
  run: () => program('repository.py', 'export'),
  undo: () => sh`
    ${unlessServed}
    [ "$(live)" != "$RELEASE" ] || fail "releases/$RELEASE is live, so it stays"
    if ls -l /proc/[0-9]*/cwd 2>/dev/null | grep -qF "$PWD/releases/$RELEASE"; then
      answer warning "a process still runs in releases/$RELEASE: it stays until a later deploy cleans up"
    else
      rm -rf "releases/\${RELEASE:?}"
    fi`,
};

/** After a switch that could not be taken back wholly, the new release may still be served: nothing is taken from it. */
export const unlessServed = sh`
  if [ -e ${RUN_FILES.switched} ] && [ ! -e ${RUN_FILES.restored} ]; then
    answer warning "releases/$RELEASE and its files stay: it may still be served"
    exit 0
  fi`;
