import { readdir, readFile } from 'node:fs/promises';
import { gunzipSync, inflateSync } from 'node:zlib';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type GitServer, gitServer } from '../support/git-server.ts';
import { type Lab, lab, SITE } from '../support/lab.ts';
import { readyEnvironment } from '../support/ready-environment.ts';
import { gate, said } from '../support/under-way.ts';

const TOKEN = "t/ken @it's%s3cret";
const ENCODED = encodeURIComponent(TOKEN);
const LOWER_CASE = ENCODED.replace(/%../g, (code) => code.toLowerCase());
const FORMS = [TOKEN, ENCODED, LOWER_CASE, Buffer.from(`ada:${TOKEN}`).toString('base64')];

let world: Lab;
let git: GitServer;
let settings: Record<string, unknown>;

beforeAll(async () => {
  world = await lab();
  git = await gitServer(world.project.path, `${world.root}/served`, 'ada', TOKEN);
  const dependencies = await readyEnvironment(`${world.root}/ready`, world.project);
  settings = {
    repository: `http://ada:${ENCODED}@${git.place}`,
    commands: { dependencies },
    restart: 'none',
  };
});
afterAll(async () => {
  await git?.[Symbol.asyncDispose]();
  await world?.[Symbol.asyncDispose]();
});

/** Reads every command line of this machine over and over, and keeps those with one of the words in them. */
const SAMPLER = `
import os, sys
words = [word for word in sys.stdin.buffer.readline().rstrip(b"\\n").split(b"\\0")]
end, seen = os.open(sys.argv[1], os.O_RDONLY | os.O_NONBLOCK), set()
print("sampling", flush=True)
while not os.read(end, 1):
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/cmdline" % pid, "rb") as file:
                line = file.read()
        except OSError:
            continue
        seen.update(word for word in words if word in line)
print(*[word.decode() for word in seen], sep="\\n")
`;

/** Does the work, and resolves to those of the words that were on a command line meanwhile. */
async function onCommandLines(
  words: readonly string[],
  work: () => Promise<void>,
): Promise<readonly string[]> {
  const end = `${world.root}/end-of-sampling`;
  await execa('sh', ['-c', ': >"$1"', 'sh', end]);
  const sampler = execa('/usr/bin/python3', ['-c', SAMPLER, end]);
  sampler.stdin.write(`${words.join('\0')}\n`);
  await said(sampler, 'sampling');
  await work().finally(() => execa('sh', ['-c', 'echo >>"$1"', 'sh', end]));
  return (await sampler).stdout.split('\n').slice(1).filter(Boolean);
}

/** The files below a folder in which one of the words is, as it is or packed. */
async function filesWith(words: readonly string[], folder: string): Promise<readonly string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const found = await Promise.all(
    entries
      .filter((entry) => entry.isFile())
      .map(async (entry) => {
        const path = `${entry.parentPath}/${entry.name}`;
        const content = await readFile(path);
        const texts = [content, ...(path.endsWith('.gz') ? [gunzipSync(content)] : [])];
        return words.some((word) => texts.some((text) => text.includes(word))) ? [path] : [];
      }),
  );
  return found.flat();
}

test('the token of a repository is on no command line, in no output, log, release, backup or file of ours', async () => {
  const said: string[] = [];
  const deploy = async (...options: readonly string[]) => {
    const { exitCode, stdout, stderr } = await world.deployer('deploy', SITE, ...options);
    said.push(stdout, stderr);
    return exitCode;
  };
  const seen = await onCommandLines([...FORMS, `http://${git.place}`], async () => {
    await world.configure(settings);
    expect(await deploy('--verbose')).toBe(0);
    expect(await deploy('--json')).toBe(0);
    await world.configure({ ...settings, hooks: { after_static: 'false' } });
    expect(await deploy('--verbose')).toBe(1);
    await world.configure({ ...settings, branch: 'no-such-branch' });
    expect(await deploy()).toBe(1);
    await world.configure(settings);
    expect(await deploy('--dry-run')).toBe(0);
    const { stdout } = await world.deployer('sites');
    said.push(stdout);
  });
  expect(seen).toEqual([`http://${git.place}`]);
  for (const form of FORMS) expect(said.join('\n')).not.toContain(form);
  expect(said.join('\n')).toContain(git.place);
  const { length } = await filesWith(['config.settings'], world.site);
  expect(length).toBeGreaterThan(2);
  expect(await filesWith(FORMS, world.site)).toEqual([]);
  expect(await readdir(`${world.root}/backups`)).toHaveLength(1);
  expect(await filesWith(['config.settings'], `${world.root}/backups`)).toHaveLength(1);
  expect(await filesWith(FORMS, `${world.root}/backups`)).toEqual([]);
});

test('while a deploy runs, the token is in no file either, its plan included, and only Git steps have it', async () => {
  await using held = gate(world.root);
  await world.configure({ ...settings, hooks: { after_release: `env >&2; ${held.hook}` } });
  const deploy = world.start('deploy', SITE, '--verbose');
  await said(deploy, held.word);
  expect(await filesWith(FORMS, world.site)).toEqual([]);
  const runs = `${world.site}/.deployer/run`;
  const [plan = ''] = (await readdir(runs)).filter((name) => name.endsWith('.plan'));
  const text = inflateSync(await readFile(`${runs}/${plan}`)).toString();
  expect(text).toContain(git.place);
  for (const form of FORMS) expect(text).not.toContain(form);
  await held.open();
  const { exitCode, stderr } = await deploy;
  expect(exitCode).toBe(0);
  expect(stderr).toContain('DEPLOYER_STEP=release');
  expect(stderr).not.toContain('DEPLOYER_GIT');
});

test('a wrong token is said in check, with what to do, and not shown', async () => {
  const live = await world.live();
  await world.configure({ ...settings, repository: `http://ada:wr%40ng-token@${git.place}` });
  const { exitCode, stdout, stderr } = await world.deployer('deploy', SITE, '--verbose');
  expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: '' });
  expect(stderr).toContain('deploy failed in check');
  expect(stderr).toContain(`refuses the user and password of http://${git.place}`);
  expect(stderr).toContain('put a user and a token that may read it into the https URL');
  expect(stderr).not.toMatch(/wr(%40|@)ng-token/);
  expect(await world.live()).toBe(live);
});

test('secrets of env and env_file that a hook prints are masked on the screen, in JSON and in the run log', async () => {
  const password = `it's a "p4ssw0rd" \\ of $ome length`;
  const fromFile = 'a-t0ken-from-the-file';
  const env = { SECRET_KEY: 'only for tests', DB_PASSWORD: password, GREETING: 'good morning' };
  const hook =
    'printf "%s\\n" "$DB_PASSWORD" "$GREETING"; echo "$API_TOKEN"; echo "$DB_PASSWORD" >&2';
  await execa('sh', [
    '-c',
    'mkdir -p "$1"; echo "$2" >"$1/.env"',
    'sh',
    `${world.site}/shared`,
    `API_TOKEN=${fromFile}`,
  ]);
  await world.configure({
    ...settings,
    env,
    env_file: '.env',
    shared_files: ['.env'],
    hooks: { after_dependencies: hook },
  });
  const told = [
    await world.deployer('deploy', SITE, '--verbose'),
    await world.deployer('deploy', SITE, '--json'),
  ].map(({ exitCode, stdout, stderr }) => {
    expect(exitCode).toBe(0);
    return `${stdout}${stderr}`;
  });
  const log = await readFile(`${world.site}/.deployer/run/${await world.live()}.log`, 'utf8');
  for (const text of [...told, log]) {
    expect(text).toContain('good morning');
    expect(text).toContain('***');
    expect(text).not.toContain('p4ssw0rd');
    expect(text).not.toContain(fromFile);
  }
  const dryRun = await world.deployer('deploy', SITE, '--dry-run');
  expect(dryRun.stdout).toContain('good morning');
  expect(dryRun.stdout).not.toContain('p4ssw0rd');
  await execa('sh', ['-n'], { input: dryRun.stdout });
});
