import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';

/**
 * What keeps a fault from doing harm, and how it is taken away: in a copy of what was built, file by file, the text `find`, which must
 * be there exactly once, becomes `replace`.
 */
const PROTECTIONS = {
  'a client that is gone is noticed': {
    file: 'target/session.py',
    find: 'self.gone or self.cancelled\n\n    def say',
    replace: 'self.cancelled\n\n    def say',
  },
  'a silent client is noticed': {
    file: 'target/session.py',
    find: 'if now() - self.heard > self.silence:',
    replace: 'if False:',
  },
  'an end that is asked for is heard': {
    file: 'target/session.py',
    find: 'return self.gone or self.cancelled\n\n    def say',
    replace: 'return b""\n\n    def say',
  },
  'a cancel is heard': {
    file: 'target/session.py',
    find: 'elif kind == b"C":',
    replace: 'elif kind == b"-":',
  },
  'what was done is undone': {
    file: 'target/session.py',
    find: 'if why:\n        run.backward(client)',
    replace: 'if why:\n        pass',
  },
  'a dead run is undone': {
    file: 'target/session.py',
    find: 'if not run.committed:\n            run.backward(client)',
    replace: 'if not run.committed:\n            pass',
  },
  'a dead run is found': {
    file: 'target/session.py',
    find: 'return sorted(name[: -len(b".plan")] for name in names if name.endswith(b".plan"))',
    replace: 'return []',
  },
  'a dead run that was proven stays': {
    file: 'target/session.py',
    find: 'if not run.committed:\n            run.backward(client)',
    replace: 'run.backward(client)',
  },
  'the lock is in the kernel': {
    file: 'target/session.py',
    find: 'end = now() + 2.0\n    while not locked(lock):',
    replace: 'end = now() + 2.0\n    while not locked(lock) or holder():',
  },
  'one at a time': {
    file: 'target/session.py',
    find: 'fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)',
    replace: 'pass',
  },
  'what died before its plan is swept': {
    file: 'target/session.py',
    find: 'os.unlink, ".deploy.lock")\n    sweep_up()',
    replace: 'os.unlink, ".deploy.lock")',
  },
  'the name of the lock is removed': {
    file: 'target/session.py',
    find: 'self.sweep(b".plan")\n        attempt(os.unlink, ".deploy.lock")',
    replace: 'self.sweep(b".plan")',
  },
  'nothing is undone after the proof': {
    file: 'target/session.py',
    find: 'if not self.committed and client.lost():\n                return b"lost", client.lost(), self.entries[max(0, index - 1)].name',
    replace:
      'if client.lost():\n                return b"lost", client.lost(), self.entries[max(0, index - 1)].name',
  },
  'a step that is over the proof is not stopped': {
    file: 'target/session.py',
    find: 'entry.killable() and not undo and not self.committed',
    replace: 'entry.killable() and not undo',
  },
  'time is limited': {
    file: 'target/session.py',
    find: 'timed_out = not entry.endless() and now() > begun + limit',
    replace: 'timed_out = False',
  },
  'a run that cannot begin leaves nothing': {
    file: 'target/session.py',
    find: 'self.sweep()\n            raise',
    replace: 'raise',
  },
  'what cannot begin is refused': {
    file: 'target/session.py',
    find: 'last = (b"D", b"refused", *refusal(error, run))',
    replace: 'last = (b"D", b"nothing")',
  },
  'an id is later than all before': {
    file: 'target/session.py',
    find: 'id_at(max(int(time.time() * 1000), newest + 1))',
    replace: 'id_at(int(time.time() * 1000))',
  },
  'the log on the target is limited': {
    file: 'target/session.py',
    find: 'os.fstat(self.log).st_size < LOG',
    replace: 'True',
  },
  'a line without an end is passed on in pieces': {
    file: 'target/session.py',
    find: 'elif len(self.held) > LONGEST:',
    replace: 'elif False:',
  },
  'secrets are masked on the target': {
    file: 'target/session.py',
    find: 'if secret in data:\n                data = data.replace(secret, b"***")',
    replace: 'pass',
  },
  'control characters are spelt out': {
    file: 'secrets.js',
    find: 'return text.replace(/(?![\\n\\t])[',
    replace: 'return text.replace(/(?!.)[',
  },
  'a disk with little room is refused': {
    file: 'target/check_folders.py',
    find: 'if free < FREE_BYTES:',
    replace: 'if False:',
  },
  'a disk with room for few files is refused': {
    file: 'target/check_folders.py',
    find: 'room.f_favail < FREE_INODES',
    replace: 'False',
  },
  'what was live is known before the switch': {
    file: 'steps/activate.js',
    find: 'if [ -L current ]; then readlink current >${RUN_FILES.previous}; else : >${RUN_FILES.previous}; fi',
    replace: 'readlink current >${RUN_FILES.previous} || :',
  },
  'where Gunicorn listens is noted while there is room': {
    file: 'target/gunicorn.py',
    find: 'if found:\n        # while there is room',
    replace: 'if False:\n        # while there is room',
  },
  'the switch is one rename': {
    file: 'steps/activate.js',
    find: 'mv -f .deployer/switch/current .',
    replace: 'rm -f current; sleep 0.2; mv -f .deployer/switch/current .',
  },
  'the release answers before the switch': {
    file: 'steps/activate.js',
    find: 'sh `in_release "$RELEASE" project python "$TOOLS/boot.py" ${bootArguments(site)}`',
    replace: 'sh `:`',
  },
  'the health check decides': {
    file: 'steps/services.js',
    find: 'inTurn(...(several ? [lines(...restarts)] : restarts), ...healthCheck(site));',
    replace: 'inTurn(...(several ? [lines(...restarts)] : restarts));',
  },
  'the workers are proven': {
    file: 'steps/services.js',
    find: "restart: program('gunicorn.py', 'reload', ...words, ...proof(site), ...seen, ...project(site)),",
    replace:
      "restart: sh`${program('gunicorn.py', 'reload', ...words, ...proof(site), ...seen, ...project(site))} || :`,",
  },
  'a backup that fails fails the deploy': {
    file: 'steps/backup.js',
    find: '*) fail "tar ended with $status" ;;',
    replace: '*) rm -f "$part"; exit 0 ;;',
  },
  'a backup is read through': {
    file: 'steps/backup.js',
    find: 'tar -tzf - <"$part" >/dev/null && wait "$packed" || fail \'the backup cannot be read through to its end\'',
    replace: ':',
  },
  'migrations are reversed': {
    file: 'steps/migrate.js',
    find: '[ -e ${RUN_FILES.appliedBefore} ] || exit 0',
    replace: 'exit 0',
  },
  'shared files are looked for before anything is changed': {
    file: 'target/check.py',
    find: '*shared_problems(files, folders, target),',
    replace: '',
  },
  'what current is, is looked at before anything is changed': {
    file: 'target/check.py',
    find: '*current_problems(),',
    replace: '',
  },
  'what is old goes': {
    file: 'target/history.py',
    find: 'for id in doomed(keep, live, in_use() | unsettled(), folders, records):',
    replace: 'for id in []:',
  },
  'what a process lives in stays': {
    file: 'target/history.py',
    find: 'doomed(keep, live, in_use() | unsettled(), folders, records)',
    replace: 'doomed(keep, live, unsettled(), folders, records)',
  },
  'only what is ours goes': {
    file: 'target/retention.py',
    find: 'if is_id(id) and id in records and records[id].ours}',
    replace: 'if is_id(id) and records.setdefault(id, Record(True, "failed", ""))}',
  },
  'what a killed Git left is swept': {
    file: 'target/mirror.py',
    find: 'name.endswith(".lock") or name.startswith("tmp_")',
    replace: 'False',
  },
  'the cause of a failure of Git is named': {
    file: 'target/git_errors.py',
    find: 'could not read (Username|Password)|terminal prompts disabled',
    replace: 'no such words',
  },
  'the branch is looked for before anything is changed': {
    file: 'target/repository.py',
    find: 'problem(*no_such_branch(url, branch, refs))',
    replace: 'keep(sorted(refs.values())[0], "")',
  },
  'a branch is a name': {
    file: 'config/formats.js',
    find: "without(/[ ~^:?*[\\\\]/, 'holds one of: space ~ ^ : ? * [ \\\\'), ",
    replace: '',
  },
  'every value is quoted': {
    file: 'shell.js',
    find: "return `'${value.replaceAll(\"'\", `'\\\\''`)}'`;",
    replace: "return `'${value}'`;",
  },
  'writable is not cut': {
    file: 'steps/writable.js',
    find: "orphan: 'finish'",
    replace: "orphan: 'kill'",
  },
  'migrate is not cut': {
    file: 'steps/migrate.js',
    find: "orphan: 'never'",
    replace: "orphan: 'kill'",
  },
  'activate is not cut': {
    file: 'steps/activate.js',
    find: "orphan: 'finish'",
    replace: "orphan: 'kill'",
  },
  'restart is not cut': {
    file: 'steps/restart.js',
    find: "orphan: 'finish'",
    replace: "orphan: 'kill'",
  },
} as const satisfies Readonly<Record<string, Change>>;

export type Protection = keyof typeof PROTECTIONS;

interface Change {
  /** In build/. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** What a copy of the tool is without, and whether it waits for signs of life as rows that are `quick` do. */
export interface Changes {
  readonly without?: Protection;
  readonly quick?: boolean;
}

const QUICK: Change = {
  file: 'session.js',
  find: 'silence: 20, grace: 5, patience: 60, beat: 5, deadAfter: 30',
  replace: 'silence: 6, grace: 5, patience: 60, beat: 3, deadAfter: 6',
};

/** As bin/, for what was compiled file by file. */
const BIN = `import { main } from '../dist/cli.js';

process.exitCode = await main(process.argv, process);
`;

/** Makes a copy of the tool with the changes in a new folder. Resolves to its command line, which runs. */
export async function copyWith({ without, quick }: Changes, folder: string): Promise<string> {
  await mkdir(folder, { recursive: true });
  await cp(join(ROOT, 'build'), join(folder, 'dist'), { recursive: true });
  await cp(join(ROOT, 'package.json'), join(folder, 'package.json'));
  const bin = join(folder, 'bin/deployer.js');
  await mkdir(dirname(bin));
  await writeFile(bin, BIN);
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  const changes = [...(without ? [PROTECTIONS[without]] : []), ...(quick ? [QUICK] : [])];
  for (const change of changes)
    await writeFile(join(folder, 'dist', change.file), await changed(change));
  await execa(process.execPath, [bin, '--version']); // one that does not even start would make every row red
  return bin;
}

/** Rejects if the protection is not exactly once where it is looked for. */
export const expectThere = async (protection: Protection): Promise<void> =>
  void (await changed(PROTECTIONS[protection]));

async function changed({ file, find, replace }: Change): Promise<string> {
  const text = await readFile(join(ROOT, 'build', file), 'utf8');
  const [before, after, ...more] = text.split(find);
  if (after === undefined || more.length > 0)
    throw new Error(`not exactly once in build/${file}: ${find}`);
  return before + replace + after;
}

export const ALL_PROTECTIONS = Object.keys(PROTECTIONS) as readonly Protection[];
