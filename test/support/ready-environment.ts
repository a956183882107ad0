import { execa } from 'execa';
import { quote } from '../../src/shell.ts';
import type { Project } from './django-project.ts';

/**
 * Makes a virtualenv with the project's requirements in a new folder. Resolves to the `commands.dependencies` that links
 * it into a release: a site that has no need for the step itself is deployed within two seconds from the first time on.
 */
export async function readyEnvironment(folder: string, project: Project): Promise<string> {
  await execa('/usr/bin/python3', ['-m', 'venv', folder]);
  await execa(`${folder}/bin/pip`, [
    ...['install', '--quiet', '--disable-pip-version-check', '--no-compile'],
    ...['--requirement', `${project.path}/requirements.txt`],
  ]);
  return `ln -s ${quote(folder)} "$RELEASE/.venv"`;
}
