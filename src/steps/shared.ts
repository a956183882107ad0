import { program, sh } from '../shell.ts';
import { unlessServed } from './release.ts';
import type { Step } from './step.ts';

/** Links what outlives a release. A missing file is named, never made up. */
export const shared: Step = {
  name: 'shared',
  title: 'Link shared files and directories',
  orphan: 'kill',
  skip: (site) =>
    site.sharedFiles.length + site.sharedDirs.length === 0
      ? 'no shared files or directories'
      : undefined,
  run: (site) =>
    program(
      'shared.py',
      'link',
      ...site.sharedDirs.flatMap((path) => ['--dir', path]),
      ...site.sharedFiles.flatMap((path) => ['--file', path]),
    ),
  undo: () => sh`
    ${unlessServed}
    program shared.py undo`,
};
