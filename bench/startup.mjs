// CPU of starting up, user and system together, in milliseconds: medians of runs taken in turn, and their ratio to `node -e 0`.

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const RUNS = Number(process.env.RUNS ?? 15);
const bin = fileURLToPath(new URL('../bin/deployer.cjs', import.meta.url));
const root = fileURLToPath(new URL('..', import.meta.url));

const commands = {
  'node -e 0': ['-e', '0'],
  'commander alone': ['--input-type=module', '-e', "import 'commander'"],
  'deployer --version': [bin, '--version'],
  'deployer --help': [bin, '--help'],
  'deployer sites': [bin, 'sites', '--config', `${root}sites-dist.yml`],
};

const cpu = (args) => {
  const script = 'TIMEFORMAT="%U %S"; time "$@" >/dev/null';
  const { stderr, status } = spawnSync('bash', ['-c', script, 'bash', process.execPath, ...args], {
    cwd: root,
    encoding: 'utf8',
  });
  const [user, system] = stderr.trim().split('\n').at(-1).split(' ').map(Number);
  if (status !== 0 || Number.isNaN(user))
    throw new Error(`node ${args.join(' ')} failed:\n${stderr}`);
  return (user + system) * 1000;
};

const seen = Object.fromEntries(Object.keys(commands).map((name) => [name, []]));
for (let run = 0; run < RUNS; run++)
  for (const [name, args] of Object.entries(commands)) seen[name].push(cpu(args));

const median = (numbers) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];
const floor = median(seen['node -e 0']);
console.log(`CPU, ms, median of ${RUNS}`);
for (const [name, times] of Object.entries(seen)) {
  const own = median(times);
  console.log(
    `${name.padEnd(20)} ${own.toFixed(0).padStart(5)}  x ${(own / floor).toFixed(2)}  +${(own - floor).toFixed(0)}`,
  );
}
const spent = median(seen['deployer --version']) - median(seen['commander alone']);
console.log(`--version over node and commander: ${spent.toFixed(0)} ms (the limit is 20)`);
