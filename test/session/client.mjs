// A client in a process of its own, for tests that kill it: node client.mjs FOLDER-OF-THE-COMPILED-SOURCES JOB.json
// Prints every event, and at last the outcome, as a line of JSON. SIGUSR2 cancels.
import { readFileSync, writeSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const [sources, job] = process.argv.slice(2);
const { runSession } = await import(pathToFileURL(`${sources}/session.js`).href);
const { localRunner } = await import(pathToFileURL(`${sources}/runners/local.js`).href);
const { plan, options } = JSON.parse(readFileSync(job, 'utf8'));
const say = (value) => writeSync(1, `${JSON.stringify(value)}\n`);
say({ outcome: await runSession(localRunner(), plan, { ...options, report: say }) });
