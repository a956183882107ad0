import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** Ends every process that lives in the folder or has its path in its environment: all that a row left behind. */
export function endProcessesOf(folder: string): void {
  for (const pid of processes()) {
    const text = `${linkOf(`/proc/${pid}/cwd`)}/\0${environmentOf(pid)}`;
    if (pid !== process.pid && text.includes(`${folder}/`)) kill(pid);
  }
}

/** Processes of runs in the world that live now, by the mark in their environment. Its shims are on their PATH. */
export function scriptsOf(root: string): readonly { readonly run: string; readonly pid: number }[] {
  return processes().flatMap((pid) => {
    const environment = environmentOf(pid);
    const run = /\0DEPLOYER_RUN=([^:]+):/.exec(environment)?.[1];
    if (run === undefined || !environment.includes(`${root}/shims:`)) return [];
    return isDead(pid) ? [] : [{ run, pid }];
  });
}

/** SIGKILL, and no complaint about who is gone already. */
export function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {}
}

const processes = (): readonly number[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);

function environmentOf(pid: number): string {
  try {
    return `\0${readFileSync(`/proc/${pid}/environ`, 'utf8')}`;
  } catch {
    return '';
  }
}

function isDead(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return /^[ZX]/.test(stat.slice(stat.lastIndexOf(')') + 2));
  } catch {
    return true;
  }
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}
