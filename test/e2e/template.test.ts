import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, cp, mkdir, readFile, readlink, stat, writeFile } from 'node:fs/promises';
import { pathToFileURL } from 'node:url';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseDocument } from 'yaml';
import { createProject } from '../support/django-project.ts';
import { dockerEngine, type Engine } from '../support/docker.ts';
import { BIN, exists } from '../support/lab.ts';
import { makeKey, publicKey, type Sshd, sshd } from '../support/sshd.ts';
import { installSupervisor, supervisor } from '../support/supervisor.ts';
import { type TmpFolder, tmpFolder } from '../support/tmp.ts';

/** `sites-dist.yml`: every entry of it is deployed for real, with only its repository, host, container and paths put in. */
const TEMPLATE = new URL('../../sites-dist.yml', import.meta.url);
const ENTRIES = parseDocument(await readFile(TEMPLATE, 'utf8'), { merge: true });
const NAMES = Object.keys(ENTRIES.toJS()).filter((name) => !name.startsWith('x-'));

let tmp: TmpFolder;
let root: string;
let repository: string;
let engine: Engine;
let host: Sshd;
let agent: ReturnType<typeof spawn>;
const ends: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  tmp = await tmpFolder();
  root = tmp.path;
  await chmod(root, 0o755);
  repository = await makeRepository(`${root}/repository`);
  await mkdir(`${root}/bin`);
  const key = await makeKey(`${root}/key`);
  engine = await dockerEngine();
  await engine.run('example-web', { mounts: [root] });
  host = await sshd(root, {
    authorized: await publicKey(key),
    config: [`SetEnv XDG_RUNTIME_DIR=${engine.folder}`],
  });
  await writeFile(`${root}/known_hosts`, host.knownHosts);
  agent = spawn('ssh-agent', ['-D', '-a', `${root}/agent`], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  await once(agent.stdout as NonNullable<typeof agent.stdout>, 'data');
});
afterAll(async () => {
  for (const end of ends.reverse()) await end();
  agent?.kill();
  await engine?.[Symbol.asyncDispose]();
  await host?.[Symbol.asyncDispose]();
  await tmp?.[Symbol.asyncDispose]();
});

/** A project that fits every entry: requirements in two places, a second project in a subfolder, a Procfile, npm. */
async function makeRepository(path: string): Promise<string> {
  const project = await createProject(path);
  const made = await execa('/usr/bin/python3', [
    new URL('../support/wheelhouse.py', import.meta.url).pathname,
    HONCHO,
  ]);
  await cp(made.stdout, `${root}/wheels`, { recursive: true }); // where every account may read them
  const own = pathToFileURL(`${root}/wheels`).href.replaceAll("'", '%27');
  const requirements = (await readFile(`${path}/requirements.txt`, 'utf8')).replace(
    made.stdout,
    own,
  );
  const settings = (await readFile(`${path}/config/settings.py`, 'utf8'))
    .replace('env("SECRET_KEY")', 'os.environ.get("SECRET_KEY", "only for tests")')
    .replace('BASE_DIR / "data" / "db.sqlite3"', 'BASE_DIR.parent.parent / "db.sqlite3"');
  const urls = await readFile(`${path}/config/urls.py`, 'utf8');
  await project.commit('All that the template speaks of', {
    'config/settings.py': settings,
    'config/urls.py': urls.replace('path("health",', 'path("health/",'),
    'requirements.txt': `${requirements}${HONCHO}\n`,
    'requirements/base.txt': requirements,
    'requirements/production.txt': '-r base.txt\n',
    'example/settings/production.py': PRODUCTION,
    'guestbook/management/commands/db_seed.py': DB_SEED,
    'guestbook/static/guestbook/style.scss': '',
    'package.json': JSON.stringify({
      name: 'example',
      version: '1.0.0',
      scripts: { build: BUILD },
    }),
    'package-lock.json': JSON.stringify({
      ...{ name: 'example', version: '1.0.0', lockfileVersion: 3, requires: true },
      packages: { '': { name: 'example', version: '1.0.0' } },
    }),
    Procfile: `web: exec env/bin/gunicorn --no-control-socket --bind unix:web.sock config.wsgi\n`,
    'backend/requirements.txt': requirements,
    'backend/project/manage.py': (await readFile(`${path}/manage.py`, 'utf8')).replaceAll(
      'config.settings',
      'project.settings',
    ),
    'backend/project/project/__init__.py': '',
    'backend/project/project/settings.py': SMALL,
    'backend/project/project/urls.py': SMALL_URLS,
    'backend/project/project/wsgi.py': WSGI,
  });
  return path;
}

const HONCHO = 'honcho[export]==2.0.0';
const BUILD = 'echo built >guestbook/static/guestbook/built.css';
const PRODUCTION = `import os

from config.settings import *  # noqa: F403

with open(os.path.join(BASE_DIR, "media", "settings-read"), "w") as file:
    file.write(f"{os.environ['DEBUG']} {os.environ['FROM_THE_FILE']}")
`;
const DB_SEED = `from django.core.management.base import BaseCommand

from guestbook.models import Entry


class Command(BaseCommand):
    def handle(self, **options):
        Entry.objects.create()
`;
const SMALL = `SECRET_KEY = "only for tests"
ROOT_URLCONF = "project.urls"
ALLOWED_HOSTS = ["*"]
`;
const SMALL_URLS = `from django.http import HttpResponse
from django.urls import path

urlpatterns = [path("", lambda request: HttpResponse("small"))]
`;
const WSGI = `import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
application = get_wsgi_application()
`;

interface Place {
  /** deploy_path. */
  readonly site: string;
  /** The configuration that holds this entry alone. */
  readonly config: string;
}

/** Writes the entry as it stands, but for the repository, the connection and the paths. */
async function put(name: string, changes: Readonly<Record<string, string>> = {}): Promise<Place> {
  const site = `${root}/srv/${name}`;
  const config = `${root}/${name}.yml`;
  const entry = (ENTRIES.toJS() as Record<string, Record<string, unknown>>)[name];
  const paths = { repository, deploy_path: site, backup_path: `${site}/backups` };
  let text = JSON.stringify({ [name]: { ...entry, ...paths } });
  for (const [from, to] of Object.entries(changes)) {
    expect(text, `the entry speaks of ${from}`).toContain(from);
    text = text.replaceAll(from, to);
  }
  await writeFile(config, text);
  return { site, config };
}

function deployer(config: string, ...words: readonly string[]) {
  return execa(process.execPath, [BIN, ...words, '--config', config], {
    env: {
      PATH: `${root}/bin:${process.env.PATH}`,
      HOME: root,
      LANG: 'C.UTF-8',
      SSH_AUTH_SOCK: `${root}/agent`,
      DOCKER_HOST: `unix://${engine.socket}`,
      DEPLOYER_IDENTITY: `${root}/key`,
      DEPLOYER_KNOWN_HOSTS: `${root}/known_hosts`,
    },
    extendEnv: false,
    reject: false,
    stdin: 'ignore',
  });
}

async function deploys(name: string, { config, site }: Place, ...words: readonly string[]) {
  const { exitCode, stdout, stderr } = await deployer(config, 'deploy', name, ...words);
  expect(exitCode, stderr).toBe(0);
  const release = (await readlink(`${site}/current`)).replace('releases/', '');
  expect(stdout).toMatch(new RegExp(`^${name} ${release} [0-9a-f]{40}$`));
  return stderr;
}

const inCurrent = ({ site }: Place, name: string) => readFile(`${site}/current/${name}`, 'utf8');
const program = (name: string, text: string) =>
  writeFile(`${root}/bin/${name}`, text, { mode: 0o755 });

/** How each entry is deployed, and what is there afterwards that no other entry would have brought. */
const DEPLOYS: Readonly<Record<string, (name: string) => Promise<void>>> = {
  'short.example.com': async (name) => {
    const config = `${root}/short.yml`;
    await writeFile(config, JSON.stringify({ [name]: repository }));
    // It names /var/www itself: for this command that is an empty filesystem of its own.
    const script = 'mkdir -p /var/www && mount -t tmpfs none /var/www && "$@" && readlink "$0"';
    const current = `/var/www/sites/${name}/current`;
    const words = [process.execPath, BIN, 'deploy', name, '--config', config];
    const { exitCode, stdout, stderr } = await execa(
      'unshare',
      ['--mount', 'sh', '-c', script, current, ...words],
      { reject: false, stdin: 'ignore' },
    );
    expect(exitCode, stderr).toBe(0);
    expect(stdout).toMatch(new RegExp(`^${name} (\\S+) \\S+\\nreleases/\\1$`));
  },
  'www.example.com': async (name) => {
    expect(await deploys(name, await put(name))).toContain('released, not served: nothing running');
  },
  'virtualenv.example.com': async (name) => {
    await program('python3.12', '#!/bin/sh\nexec /usr/bin/python3 "$@"\n');
    const place = await put(name);
    await deploys(name, place);
    const { stdout } = await execa(`${place.site}/current/env/bin/python`, [
      '-c',
      'import django, tinylib',
    ]);
    expect(stdout).toBe('');
  },
  'shared.example.com': async (name) => {
    const place = await put(name);
    const { stderr } = await deployer(place.config, 'deploy', name);
    expect(stderr).toContain('.env');
    await writeFile(`${place.site}/shared/.env`, 'FROM_THE_FILE=yes\n');
    await deploys(name, place);
    expect(await readFile(`${place.site}/shared/media/settings-read`, 'utf8')).toBe('false yes');
  },
  'writable.example.com': async (name) => {
    const place = await put(name);
    await deploys(name, place);
    const modes = await execa('stat', ['-Lc', '%a', 'media', 'var/cache'], {
      cwd: `${place.site}/current`,
    });
    expect(modes.stdout).toBe('775\n775');
  },
  'subfolder.example.com': async (name) => {
    const place = await put(name);
    await deploys(name, place);
    expect(await exists(`${place.site}/current/backend/project/manage.py`)).toBe(true);
  },
  'backups.example.com': async (name) => {
    const place = await put(name);
    for (let count = 0; count < 5; count++) await deploys(name, place);
    const names = async (folder: string) =>
      (await execa('ls', [`${place.site}/${folder}`])).stdout.split('\n');
    expect([(await names('releases')).length, (await names('backups')).length]).toEqual([3, 4]);
  },
  'ssh.example.com': async (name) => {
    const place = await put(name, {
      'web1.example.com': '127.0.0.1',
      '"deploy"': '"root"',
      2222: `${host.port}`,
    });
    await execa('ssh-add', ['-q', `${root}/key`], { env: { SSH_AUTH_SOCK: `${root}/agent` } });
    expect(await deploys(name, place)).toContain(`(ssh root@127.0.0.1:${host.port})`);
  },
  'anywhere.example.com': async (name) => {
    const place = await put(name);
    const target = `root@127.0.0.1:${host.port}`;
    expect(await deploys(name, place, '-H', target)).toContain(`(ssh ${target})`);
  },
  'docker.example.com': async (name) => {
    const mine = `${root}/repository of www-data`;
    await cp(repository, mine, { recursive: true });
    await mkdir(`${root}/srv/${name}`, { recursive: true });
    await execa('chown', ['-R', '33:33', mine, `${root}/srv/${name}`]);
    const place = await put(name, { [`"${repository}"`]: `"${mine}"` });
    expect(await deploys(name, place)).toContain('(docker example-web)');
    expect((await stat(`${place.site}/current/manage.py`)).uid).toBe(33);
  },
  'docker-ssh.example.com': async (name) => {
    const target = `root@127.0.0.1:${host.port}`;
    const place = await put(name, { 'deploy@web1.example.com': target });
    expect(await deploys(name, place)).toContain(`(docker example-web on ${target})`);
  },
  'services.example.com': async (name) => {
    const place = await put(name, { '/run/example/gunicorn.sock': `${root}/g.sock` });
    const current = `${place.site}/current`;
    await program('systemctl', SYSTEMCTL);
    ends.push(() => execa(`${root}/bin/systemctl`, ['stop'], { env: { CURRENT: current } }));
    await writeFile(`${root}/bin/current`, current);
    expect(await deploys(name, place)).toContain('nothing answers the health check');
    const gunicorn = execa(
      `${current}/.venv/bin/python`,
      [
        `${current}/.venv/bin/gunicorn`,
        '--chdir',
        current,
        '--bind',
        `unix:${root}/g.sock`,
        '--no-control-socket',
        'config.wsgi',
      ],
      { reject: false, stdio: 'ignore' },
    );
    ends.push(async () => gunicorn.kill() && (await gunicorn));
    expect(await deploys(name, place)).toContain('is live, and proven to be served');
  },
  'hooks.example.com': async (name) => {
    const venv = `${root}/supervisor`;
    await installSupervisor(venv);
    await mkdir(`${root}/conf.d`);
    await using daemon = await supervisor(
      { venv, folder: `${root}/s`, include: '../conf.d/*.conf' },
      { idle: { command: 'sleep 600' } },
    );
    await program('sudo', '#!/bin/sh\n[ "$1" = -n ] && shift\nexec "$@"\n');
    await program(
      'supervisorctl',
      `#!/bin/sh\nexec "${venv}/bin/supervisorctl" -c "${root}/s/supervisord.conf" "$@"\n`,
    );
    const place = await put(name, {
      '/etc/supervisor/conf.d': `'${root.replaceAll("'", "'\\\\''")}/conf.d'`,
      '/var/log/supervisor': `'${root.replaceAll("'", "'\\\\''")}'`,
    });
    await deploys(name, place);
    expect(await inCurrent(place, 'staticfiles/guestbook/built.css')).toBe('built\n');
    expect(await exists(`${place.site}/current/staticfiles/guestbook/style.scss`)).toBe(false);
    expect(await daemon.ask('status')).toMatch(/^example:web-1 +RUNNING/m);
  },
};

/** A systemd of one unit, whose process is what a Celery worker is to the proof: a Python of the release. */
const SYSTEMCTL = `#!/usr/bin/python3
import os, signal, subprocess, sys

here = os.path.dirname(os.path.abspath(__file__))
current = open(os.path.join(here, "current")).read()
note = os.path.join(here, "unit.pid")
python = os.path.join(current, ".venv/bin/python")
pid = int(open(note).read()) if os.path.exists(note) else 0


def stop():
    if pid:
        os.kill(pid, signal.SIGKILL)
        os.remove(note)


if "show" in sys.argv:
    state = ("active", "running") if pid else ("inactive", "dead")
    print("LoadState=loaded", "ActiveState=%s" % state[0], "SubState=%s" % state[1], "Result=success", sep="\\n")
    print("Type=simple", "MainPID=%d" % pid, "CanReload=no", "CanStart=yes", "WorkingDirectory=" + current, sep="\\n")
    print("ExecStart={ path=%s ; argv[]=%s -c pass ; ignore_errors=no ; }" % (python, python))
elif "restart" in sys.argv or "start" in sys.argv:
    stop()
    worker = subprocess.Popen(
        [python, "-c", "import time; time.sleep(3600)"],
        cwd=current, start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    with open(note, "w") as file:
        file.write(str(worker.pid))
elif "stop" in sys.argv:
    stop()
`;

test.each(NAMES)(
  '%s',
  async (name) => {
    const deploy = DEPLOYS[name];
    if (deploy === undefined) throw new Error(`no deploy of ${name} is written here`);
    await deploy(name);
  },
  300_000,
);
