import type { Site } from '../config/site.ts';
import { program } from '../shell.ts';
import type { Step } from './step.ts';

/** Gives directories the mode that the application needs to write in them. The undo removes those it made. */
export const writable: Step = {
  name: 'writable',
  title: 'Make directories writable',
  orphan: 'finish',
  skip: (site) => (site.writableDirs.length === 0 ? 'no writable directories' : undefined),
  run: (site) => program('writable.py', ...writableArguments(site)),
  undo: () => program('writable.py', 'undo'),
};

function writableArguments(site: Site): readonly string[] {
  return [
    ...['--mode', site.writableChmodMode],
    ...(site.writableRecursive ? ['--recursive'] : []),
    ...(site.writableUseSudo ? ['--sudo'] : []),
    ...site.writableDirs.flatMap((path) => ['--dir', path]),
  ];
}
