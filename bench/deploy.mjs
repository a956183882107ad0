// A new commit with unchanged requirements, on this machine: `deployer deploy`, whole process, against a hand-written
// script that does the same work well, in turn. Then where deployer's own time goes, step by step.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { djangoByHand } from './by-hand.mjs';
import {
  account,
  BIN,
  djangoProject,
  folderOf,
  lab,
  median,
  PYTHON,
  run,
  stepsOf,
  timed,
} from './lab.mjs';

const RUNS = Number(process.env.RUNS ?? 7);
const folder = lab();
const { uid, gid } = account();
const project = djangoProject(join(folder, 'project'));
const [own, hand] = ['deployer', 'script'].map((name) =>
  folderOf({ uid, gid }, join(folder, name)),
);
const who = { cwd: folder, env: { PATH: `/usr/bin:${process.env.PATH}`, HOME: folder }, uid, gid };

writeFileSync(
  join(folder, 'sites.yml'),
  `www.example.com:
  repository: ${project.path}
  branch: main
  deploy_path: ${own}
  backup_path: ${own}/backups
  python: ${PYTHON}
  shared_dirs: [data, media]
  env: { SECRET_KEY: bench }
`,
);
const deploy = (...options) =>
  run(process.execPath, [BIN, 'deploy', 'www.example.com', ...options], who);
const byHand = () => run('sh', ['-s'], { ...who, input: djangoByHand(project.path, hand) });

deploy();
byHand();
const times = { deployer: [], script: [] };
for (let version = 1; version <= RUNS; version++) {
  project.commit(version);
  times.script.push(timed(byHand));
  times.deployer.push(timed(() => deploy('--quiet')));
}
const [ours, floor] = [median(times.deployer), median(times.script)];
console.log(`a new commit, unchanged requirements, on this machine: median of ${RUNS}, ms`);
console.log(`hand-written script ${floor.toFixed(0)}`);
console.log(
  `deployer            ${ours.toFixed(0)}  x ${(ours / floor).toFixed(2)}  (with boot test, proof of services, journal)`,
);

project.commit('last');
for (const [step, seconds] of stepsOf(deploy('--json')))
  console.log(`  ${step.padEnd(14)} ${(seconds * 1000).toFixed(0).padStart(5)}`);
