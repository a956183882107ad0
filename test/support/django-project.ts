import { cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';

const HERE = fileURLToPath(new URL('.', import.meta.url));

/** A small Django project in a real Git repository, on `main`. Each change is one commit, whose id it returns. */
export interface Project {
  /** The repository, absolute. */
  readonly path: string;
  head(): Promise<string>;
  /** Writes the files given, whole. */
  commit(message: string, files: Readonly<Record<string, string>>): Promise<string>;
  commitVersion(version: string): Promise<string>;
  /** A syntax error where only an import of the URLs looks. */
  breakUrls(): Promise<string>;
  /** All imports work, and every page answers 500. */
  breakViews(): Promise<string>;
  /** A migration that adds a field. */
  addMigration(): Promise<string>;
  /** A migration that drops a field. */
  addRemoveFieldMigration(): Promise<string>;
  /** Two migrations: the first adds a field, the second fails. */
  addFailingMigration(): Promise<string>;
  /** Migrations of the app `guestbook` with these operations, in Python, one upon the other. The models stay as they are. */
  addMigrations(...operations: readonly string[]): Promise<string>;
  /** Another database than SQLite, as Python, and the driver for it: psycopg. */
  useDatabase(settings: string): Promise<string>;
  /** Passes every check, and cannot collect its static files. */
  breakCollectstatic(): Promise<string>;
  /** Another version of the library that the pages show: 1, 2 or 3. */
  changeLibrary(version: string): Promise<string>;
  addUninstallableRequirement(): Promise<string>;
  /** Takes back the last commit, with a new one. */
  revert(): Promise<string>;
}

/** A folder of wheels from which the project installs without a network, filled on first use. */
async function wheelhouse(): Promise<string> {
  return (await execa('/usr/bin/python3', [`${HERE}wheelhouse.py`])).stdout;
}

/** Makes the project in a new folder. */
export async function createProject(path: string): Promise<Project> {
  const wheels = await wheelhouse();
  const pins = await readFile(`${HERE}project/requirements.txt`, 'utf8');
  await cp(`${HERE}project`, path, { recursive: true });

  const git = async (...words: readonly string[]) =>
    (await execa('git', words, { cwd: path, env: SURROUNDINGS })).stdout;
  const head = () => git('rev-parse', 'HEAD');
  const commit: Project['commit'] = async (message, files) => {
    for (const [name, text] of Object.entries(files)) {
      await mkdir(dirname(join(path, name)), { recursive: true });
      await writeFile(join(path, name), text);
    }
    await git('add', '--all');
    await git('commit', '--quiet', '--allow-empty', '--message', message);
    return head();
  };
  const text = (name: string) => readFile(join(path, name), 'utf8');
  const requirements = (...more: readonly string[]) => ({
    'requirements.txt': `--no-index\n--find-links "${wheels}"\n${pins}${more.join('\n')}\n`,
  });

  /** The newest migration's name, and the number of the next. */
  const migrations = async () => {
    const names = await readdir(join(path, 'guestbook/migrations'));
    const last = names
      .filter((name) => /^\d{4}_/.test(name))
      .sort()
      .at(-1) as string;
    return { last: last.replace('.py', ''), next: Number(last.slice(0, 4)) + 1 };
  };
  let names = 0;
  const migration = (number: number, name: string, after: string, operation: string) => ({
    [`guestbook/migrations/${fourDigits(number)}_${name}.py`]: MIGRATION(after, operation),
  });
  const model = async (change: (lines: string) => string) => ({
    'guestbook/models.py': change(await text('guestbook/models.py')),
  });
  const field = (name: string) => `${name} = models.CharField(max_length=9, null=True)`;
  const withField = (name: string) =>
    model((lines) => lines.replace('\n    def __str__', `    ${field(name)}\n\n    def __str__`));
  const adds = (name: string) =>
    `migrations.AddField("entry", "${name}", models.CharField(max_length=9, null=True))`;

  await git('init', '--quiet', '--initial-branch=main');
  await commit('Version 1', requirements('tinylib==1'));

  return {
    path,
    head,
    commit,
    commitVersion: (version) => commit(`Version ${version}`, { VERSION: `${version}\n` }),
    breakUrls: async () =>
      commit('Break the URLs', {
        'config/urls.py': `${await text('config/urls.py')}urlpatterns = [\n`,
      }),
    breakViews: () => commit('Break the views', { 'config/urls.py': BROKEN_URLS }),
    addMigration: async () => {
      const { last, next } = await migrations();
      const name = `added_${next}`;
      return commit('Add a field', {
        ...migration(next, name, last, adds(name)),
        ...(await withField(name)),
      });
    },
    addRemoveFieldMigration: async () => {
      const { last, next } = await migrations();
      const dropped = await model((lines) => lines.replace(/ {4}written = .*\n/, ''));
      const operation = 'migrations.RemoveField("entry", "written")';
      return commit('Drop a field', { ...migration(next, 'dropped', last, operation), ...dropped });
    },
    addFailingMigration: async () => {
      const { last, next } = await migrations();
      const name = `added_${next}`;
      const first = `${fourDigits(next)}_${name}`;
      return commit('Two migrations, of which the second fails', {
        ...migration(next, name, last, adds(name)),
        ...migration(
          next + 1,
          'fails',
          first,
          'migrations.RunSQL("DROP TABLE nowhere", migrations.RunSQL.noop)',
        ),
        ...(await withField(name)),
      });
    },
    addMigrations: async (...operations) => {
      const files: Record<string, string> = {};
      let { last, next } = await migrations();
      for (const operation of operations) {
        const name = `more_${++names}`;
        Object.assign(files, migration(next, name, last, operation));
        last = `${fourDigits(next)}_${name}`;
        next += 1;
      }
      return commit('More migrations', files);
    },
    useDatabase: async (settings) =>
      commit('Another database', {
        ...requirements('tinylib==1', 'psycopg[binary]'),
        'config/settings.py': `${await text('config/settings.py')}\nDATABASES = {"default": ${settings}}\n`,
      }),
    breakCollectstatic: async () =>
      commit('A style that names an image which is nowhere', {
        'guestbook/static/guestbook/site.css': 'body { background: url("nowhere.png"); }\n',
        'config/settings.py': `${await text('config/settings.py')}${MANIFEST}`,
      }),
    changeLibrary: (version) => commit(`tinylib ${version}`, requirements(`tinylib==${version}`)),
    addUninstallableRequirement: () =>
      commit(
        'A requirement that is nowhere',
        requirements('tinylib==1', 'no-such-thing-anywhere==1'),
      ),
    revert: async () => {
      await git('revert', '--no-edit', 'HEAD');
      return head();
    },
  };
}

const SURROUNDINGS = {
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_AUTHOR_NAME: 'Ada Example',
  GIT_AUTHOR_EMAIL: 'ada@example.com',
  GIT_COMMITTER_NAME: 'Ada Example',
  GIT_COMMITTER_EMAIL: 'ada@example.com',
};

const fourDigits = (number: number): string => String(number).padStart(4, '0');

const MIGRATION = (after: string, operation: string) => `from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("guestbook", "${after}")]
    operations = [${operation}]
`;

const BROKEN_URLS = `from django.urls import re_path


def broken(request):
    raise RuntimeError("broken on purpose")


urlpatterns = [re_path("", broken)]
`;

const MANIFEST = `
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"},
}
`;
