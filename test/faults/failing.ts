import { readFile } from 'node:fs/promises';
import { expect } from 'vitest';
import { type Ran, SITE } from '../support/lab.ts';
import type { World } from './world.ts';

export interface Expected {
  readonly step: string;
  readonly says?: readonly (string | RegExp)[];
  /** Settings for this deploy only. */
  readonly settings?: Readonly<Record<string, unknown>>;
}

/** A deploy fails in the step, says why, and all is as it was: exit 1. The settings are as before then. */
export async function expectFailure(world: World, expected: Expected): Promise<Ran> {
  await world.configure(expected.settings ?? {});
  const ran = await world.deployer('deploy', SITE);
  await world.configure({});
  expectSaid(ran, expected);
  expect(ran, ran.stderr).toMatchObject({ exitCode: 1, stdout: '' });
  expect(ran.stderr).toContain(`live now: ${world.before.live}, as before`);
  expect(await world.state(), 'undone').toEqual(world.before);
  return ran;
}

/** The step that failed is named, and so is what `says` lists. */
export function expectSaid({ stderr }: Ran, { step, says = [] }: Expected): void {
  expect(stderr).toContain(`deploy failed in ${step}`);
  for (const text of says) {
    if (typeof text === 'string') expect(stderr).toContain(text);
    else expect(stderr).toMatch(text);
  }
}

/** Adds to a file of the project, and sends it where the Git server has it. */
export async function append(world: World, file: string, text: string): Promise<void> {
  const before = await readFile(`${world.lab.project.path}/${file}`, 'utf8');
  await world.lab.project.commit(`Append to ${file}`, { [file]: before + text });
  await world.push();
}

/** Takes back the last commit of the project. */
export async function revert(world: World): Promise<void> {
  await world.lab.project.revert();
  await world.push();
}
