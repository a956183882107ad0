import type { Entry, Plan } from '../../src/plan.ts';
import { type Script, sh } from '../../src/shell.ts';

/** A plan of hand-written scripts, for tests of the session itself. Text is shell as it is. */
export function planOf(
  place: string,
  entries: readonly EntryText[],
  options: Partial<Plan> = {},
): Plan {
  return {
    kind: 'deploy',
    site: 'www.example.com',
    place,
    prelude: PRELUDE,
    entries: entries.map(entryOf),
    tools: [],
    secrets: [],
    keys: {},
    keySecrets: [],
    ...options,
  };
}

export interface EntryText extends Partial<Omit<Entry, 'run' | 'undo'>> {
  readonly run?: string | Script;
  readonly undo?: string | Script;
}

function entryOf({ run = ':', undo, ...rest }: EntryText): Entry {
  return {
    name: 'code',
    title: 'a step',
    phase: 'step',
    orphan: 'kill',
    limit: 60,
    undoLimit: 60,
    needsKeys: false,
    ...rest,
    run: script(run),
    undo: undo === undefined ? undefined : script(undo),
  };
}

/** Shell as it stands, which `sh` makes only of templates. */
const script = (text: string | Script): Script =>
  typeof text === 'string' ? sh(Object.assign([text], { raw: [text] })) : text;

const PRELUDE = sh`
  answer() { printf '%s=%s\0' "$1" "$2" >&3; }
  fail() { answer error failed; answer message "$1"; exit 1; }`;
