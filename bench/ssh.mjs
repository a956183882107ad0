// Deploys over SSH, whole process, through a proxy that delays, against the same work as hand-written scripts through one
// `ssh HOST sh -s`, in turn. `node bench/ssh.mjs [stubbed] [ten] [django]`: these parts only. AGAINST names the bin of another
// deployer, from before a change, to be run in turn, too, with the stubbed steps on a site of its own.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { djangoByHand, STUBS, stubbedByHand } from './by-hand.mjs';
import {
  account,
  BIN,
  djangoProject,
  folderOf,
  lab,
  median,
  PYTHON,
  repository,
  run,
  stepsOf,
  timed,
} from './lab.mjs';

const RUNS = Number(process.env.RUNS ?? 9);
const RTTS = (process.env.RTTS ?? '0 20 100').split(' ').map(Number);
const chosen = process.argv.slice(2);
const wanted = (part) => chosen.length === 0 || chosen.includes(part);

const folder = lab();
const user = account();
const server = await sshServer();
const ways = new Map();
for (const rtt of new Set([...RTTS, 20])) ways.set(rtt, await wayTo(server.port, rtt));
const env = {
  PATH: process.env.PATH,
  HOME: folder,
  LANG: 'C.UTF-8',
  DEPLOYER_IDENTITY: join(folder, 'key'),
  DEPLOYER_KNOWN_HOSTS: join(folder, 'known_hosts'),
};
try {
  writeFileSync(
    env.DEPLOYER_KNOWN_HOSTS,
    [...ways.values()].map(({ port }) => `[127.0.0.1]:${port} ${server.hostKey}\n`).join(''),
  );
  if (wanted('stubbed')) await stubbed();
  if (wanted('ten')) await tenSites();
  if (wanted('django')) await django();
  if (chosen.includes('client')) await client();
} finally {
  for (const way of ways.values()) way.end();
  await server.end();
}

/** One site whose heavy steps are stubs: what is left is the tool itself, and the network. */
async function stubbed() {
  const project = repository(join(folder, 'tiny'), STUBS.fill);
  console.log(`one new commit, heavy steps stubbed, one site: median of ${RUNS}, ms`);
  for (const rtt of RTTS) {
    const way = ways.get(rtt);
    const [own, before, hand] = ['own', 'before', 'hand'].map((name) => place(`${name}-${rtt}`));
    configure({
      'tiny.example.com': { ...STUBS.site, ...at(project, own, way) },
      'before.example.com': { ...STUBS.site, ...at(project, before, way) },
    });
    const deploy = (bin, site) => deployer(bin, 'deploy', `${site}.example.com`, '--quiet');
    const byHand = () => script(way, stubbedByHand(project.path, hand));
    await compare(`RTT ${rtt}`, way, project, { byHand, deploy });
    bySteps(project, 'tiny.example.com');
  }
}

/** Only by its name: the client, the connection and the start of a session that finds nothing to do, and `ssh HOST true`. */
async function client() {
  const project = repository(join(folder, 'none'), STUBS.fill);
  console.log(`a session without steps, and ssh HOST true: median of ${RUNS}, ms`);
  for (const rtt of RTTS) {
    const way = ways.get(rtt);
    configure({ 'none.example.com': at(project, join(folder, 'srv/none'), way) });
    await compare(`RTT ${rtt}`, way, project, {
      byHand: () => script(way, ':'),
      deploy: (bin) => deployer(bin, 'unlock', 'none.example.com', '--quiet'),
    });
  }
}

/** Ten sites of one host side by side, over one connection, against ten scripts in turn. */
async function tenSites() {
  const project = repository(join(folder, 'ten'), STUBS.fill);
  const way = ways.get(20);
  const names = Array.from({ length: 10 }, (_, index) => `site${index}`);
  configure(
    Object.fromEntries(
      names.map((name) => [
        `${name}.example.com`,
        { ...STUBS.site, ...at(project, place(`${name}-own`), way) },
      ]),
    ),
  );
  const hands = names.map((name) => place(`${name}-hand`));
  console.log(`ten sites of one host, RTT 20: median of ${RUNS}, ms`);
  await compare('in turn / side by side', way, project, {
    byHand: () => {
      for (const hand of hands) script(way, stubbedByHand(project.path, hand));
    },
    deploy: (bin) => deployer(bin, 'deploy_all', '--parallel-per-host', '10', '--quiet'),
  });
}

/** A real Django project with the requirements that it had. */
async function django() {
  const project = djangoProject(join(folder, 'project'));
  const way = ways.get(20);
  const [own, hand] = ['own', 'hand'].map((name) => place(`django-${name}`));
  configure({
    'www.example.com': {
      ...at(project, own, way),
      shared_dirs: ['data', 'media'],
      env: { SECRET_KEY: 'bench' },
    },
  });
  console.log(`a Django project, unchanged requirements, RTT 20: median of ${RUNS}, ms`);
  await compare('RTT 20', way, project, {
    byHand: () => script(way, djangoByHand(project.path, hand)),
    deploy: (bin) => deployer(bin, 'deploy', 'www.example.com', '--quiet'),
  });
  bySteps(project, 'www.example.com');
}

function bySteps(project, site) {
  const steps = [];
  for (let last = 1; last <= 5; last++) {
    project.commit(`${site} last ${last}`);
    steps.push(stepsOf(deployer(BIN, 'deploy', site, '--json')));
  }
  const ms = steps[0].map(([step], index) => {
    const each = median(steps.map((seen) => seen[index][1])) * 1000;
    return `${step} ${each.toFixed(0)}`;
  });
  console.log(`    by step  ${ms.join(', ')}`);
}

/** Each in turn, a new commit for each round; then what the host saw of the last of each. */
async function compare(name, way, project, { byHand, deploy }) {
  const works = { 'by hand': byHand, deployer: () => deploy(BIN, 'tiny') };
  if (process.env.AGAINST) works.before = () => deploy(process.env.AGAINST, 'before');
  const times = Object.fromEntries(Object.keys(works).map((who) => [who, []]));
  const seen = {};
  for (let round = 0; round <= RUNS; round++) {
    for (const [who, work] of Object.entries(works)) {
      project.commit(`${name} ${round} ${who}`);
      const before = server.log().length;
      await way.trips();
      const time = timed(work);
      if (round > 0) times[who].push(time);
      const trips = await way.trips();
      seen[who] = `${trips} round trips, ${await server.used(before)}`;
    }
  }
  const floor = median(times['by hand']);
  console.log(`  ${name}`);
  for (const [who, each] of Object.entries(times)) {
    const pairs = median(each.map((time, index) => time / times['by hand'][index]));
    const ratio = `x ${(median(each) / floor).toFixed(2)} (of pairs ${pairs.toFixed(2)})`;
    console.log(
      `    ${who.padEnd(9)}${median(each).toFixed(0).padStart(6)}  ${ratio}  ${seen[who]}`,
    );
  }
}

function place(name) {
  const path = folderOf(user, join(folder, 'srv', name));
  folderOf(user, join(path, 'shared'));
  writeFileSync(join(path, 'shared/settings.ini'), '');
  return path;
}

function at(project, path, way) {
  return {
    repository: project.path,
    branch: 'main',
    deploy_path: path,
    backup_path: `${path}/backups`,
    host: `${user.name}@127.0.0.1:${way.port}`,
    python: PYTHON,
  };
}

function configure(sites) {
  writeFileSync(join(folder, 'sites.yml'), JSON.stringify(sites)); // which is YAML
}

function deployer(bin, ...words) {
  return run(process.execPath, [bin, ...words], { cwd: folder, env });
}

function script(way, text) {
  const options = [
    ...['-F', 'none', '-i', env.DEPLOYER_IDENTITY, '-p', String(way.port)],
    ...['IdentitiesOnly=yes', 'BatchMode=yes', `UserKnownHostsFile=${env.DEPLOYER_KNOWN_HOSTS}`],
  ].flatMap((word) => (word.includes('=') ? ['-o', word] : [word]));
  return run('ssh', [...options, `${user.name}@127.0.0.1`, 'sh -s'], { input: text, env });
}

/** A real sshd that lets in the key of this bench; ended with its connections. */
async function sshServer() {
  run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(folder, 'key')]);
  run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(folder, 'host_key')]);
  writeFileSync(join(folder, 'authorized_keys'), readFileSync(join(folder, 'key.pub')));
  chmodSync(join(folder, 'authorized_keys'), 0o644);
  if (process.getuid() === 0) mkdirSync('/run/sshd', { recursive: true });
  const port = await freePort();
  const lines = [
    ...['ListenAddress 127.0.0.1', `Port ${port}`, `HostKey ${join(folder, 'host_key')}`],
    ...[`AuthorizedKeysFile ${join(folder, 'authorized_keys')}`, 'PidFile none', 'UsePAM no'],
    ...['StrictModes no', 'KbdInteractiveAuthentication no', 'LogLevel VERBOSE', ''],
  ];
  writeFileSync(join(folder, 'sshd_config'), lines.join('\n'));
  const child = spawn('/usr/sbin/sshd', ['-D', '-e', '-f', join(folder, 'sshd_config')], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let log = '';
  await new Promise((resolve, reject) => {
    child.stderr.on('data', (data) => {
      log += data;
      if (log.includes('Server listening on')) resolve();
    });
    child.once('close', () => reject(new Error(`sshd did not start:\n${log}`)));
  });
  return {
    port,
    hostKey: readFileSync(join(folder, 'host_key.pub'), 'utf8').trim(),
    log: () => log,
    used: async (from) => {
      await new Promise((resolve) => setTimeout(resolve, 50)); // its log comes through a pipe
      const count = (line) => log.slice(from).split(line).length - 1;
      return `${count('Accepted publickey')} connections, ${count('Starting session')} channels`;
    },
    end: async () => {
      child.kill();
      await once(child, 'close');
    },
  };
}

/** A way to a port on which a round trip takes `rtt` milliseconds. */
async function wayTo(port, rtt) {
  const proxy = join(import.meta.dirname, 'delay.mjs');
  const child = spawn(process.execPath, [proxy, String(port), String(rtt / 2)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async () => (await lines.next()).value;
  return {
    port: Number(await next()),
    trips: () => {
      child.stdin.write('\n');
      return next();
    },
    end: () => child.stdin.end(),
  };
}

async function freePort() {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address();
  probe.close();
  await once(probe, 'close');
  return port;
}
