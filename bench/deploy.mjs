// A new commit with unchanged requirements, on this machine: `deployer deploy`, whole process, against a hand-written
// script that does the same work well, in turn. Then where deployer's own time goes, step by step.

import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';

const RUNS = Number(process.env.RUNS ?? 7);
const ROOT = fileURLToPath(new URL('..', import.meta.url));
const PYTHON = '/usr/bin/python3';
const lab = mkdtempSync(join(tmpdir(), 'deployer-bench-'));
const project = join(lab, 'project');
const env = { ...process.env, PATH: `/usr/bin:${process.env.PATH}`, SECRET_KEY: 'bench' };

const run = (command, words, options = {}) => {
  const result = spawnSync(command, words, { encoding: 'utf8', env, ...options });
  if (result.status !== 0)
    throw new Error(`${command} ${words.join(' ')}\n${result.stdout}${result.stderr}`);
  return result.stdout;
};
const git = (...words) =>
  run('git', [
    '-C',
    project,
    '-c',
    'user.name=Bench',
    '-c',
    'user.email=bench@example.com',
    ...words,
  ]);
const commit = (version) => {
  writeFileSync(join(project, 'VERSION'), `${version}\n`);
  git('add', '--all');
  git('commit', '--quiet', '--message', `Version ${version}`);
};

cpSync(join(ROOT, 'test/support/project'), project, { recursive: true });
const wheels = run(PYTHON, [join(ROOT, 'test/support/wheelhouse.py')]).trim();
const pins = readFileSync(join(project, 'requirements.txt'), 'utf8');
writeFileSync(
  join(project, 'requirements.txt'),
  `--no-index\n--find-links "${wheels}"\n${pins}tinylib==1\n`,
);
git('init', '--quiet', '--initial-branch=main');
commit(0);

const sites = ['deployer', 'script'].map((name) => join(lab, name));
writeFileSync(
  join(lab, 'sites.yml'),
  `www.example.com:
  repository: ${project}
  branch: main
  deploy_path: ${sites[0]}
  backup_path: ${sites[0]}/backups
  python: ${PYTHON}
  shared_dirs: [data, media]
  env: { SECRET_KEY: bench }
`,
);
const deploy = (...options) =>
  run(process.execPath, [join(ROOT, 'bin/deployer.js'), 'deploy', 'www.example.com', ...options], {
    cwd: lab,
  });

const script = `set -eu
mkdir -p releases shared/data shared/media backups envs; id=$(date -u +%Y%m%d_%H%M%S_%N); rel=$PWD/releases/$id
[ -d repo.git ] || git init -q --bare repo.git
if [ -L current ]; then cur=$(readlink current); tar -czf backups/$id.tar.gz -C releases --exclude=.venv "\${cur##*/}"; gzip -t backups/$id.tar.gz; fi
git -C repo.git fetch -q ${project} +main:main
mkdir "$rel"; GIT_INDEX_FILE=$PWD/index git --git-dir=repo.git read-tree main
GIT_INDEX_FILE=$PWD/index git --git-dir=repo.git --work-tree="$rel" checkout-index -a -f
for d in data media; do ln -s "../../shared/$d" "$rel/$d"; done
hash=$(sha256sum < "$rel/requirements.txt" | cut -c1-12)
[ -e "envs/$hash/complete" ] || { ${PYTHON} -m venv "envs/$hash"; "envs/$hash/bin/pip" install -q -r "$rel/requirements.txt"; : > "envs/$hash/complete"; }
ln -s "../../envs/$hash" "$rel/.venv"; cd "$rel"
.venv/bin/python manage.py shell -v0 -c 'from django.core.management import call_command as c; c("check"); c("migrate", plan=True)' > plan
grep -q 'No planned' plan || .venv/bin/python manage.py migrate > /dev/null
.venv/bin/python manage.py collectstatic --noinput > /dev/null
cd ../..; rm -rf switch; mkdir switch; ln -s "releases/$id" switch/current; mv -f switch/current .
ls -1d releases/* | sort -r | tail -n +6 | xargs -r rm -rf; ls -1d backups/* | sort -r | tail -n +6 | xargs -r rm -f
`;
const byHand = () => run('sh', [], { cwd: sites[1], input: script });

try {
  mkdirSync(sites[1]);
  deploy();
  byHand();
  const times = { deployer: [], script: [] };
  const timed = (name, work) => {
    const begun = performance.now();
    work();
    times[name].push(performance.now() - begun);
  };
  for (let version = 1; version <= RUNS; version++) {
    commit(version);
    timed('script', byHand);
    timed('deployer', () => deploy('--quiet'));
  }
  const median = (numbers) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];
  const [own, floor] = [median(times.deployer), median(times.script)];
  console.log(`a new commit, unchanged requirements, median of ${RUNS}, ms`);
  console.log(`hand-written script ${floor.toFixed(0)}`);
  console.log(
    `deployer            ${own.toFixed(0)}  x ${(own / floor).toFixed(2)}  (with boot test, proof of services, journal)`,
  );

  commit('last');
  for (const line of deploy('--json').trim().split('\n')) {
    const { type, step, seconds } = JSON.parse(line);
    if (type === 'done' || type === 'skipped')
      console.log(`  ${step.padEnd(14)} ${(seconds * 1000).toFixed(0).padStart(5)}`);
  }
} finally {
  rmSync(lab, { recursive: true, force: true });
}
