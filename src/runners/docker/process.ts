import { constants } from 'node:os';
import type { Duplex } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import type { Ending, RemoteProcess } from '../runner.ts';

/** What the engine knows of a process. */
interface Known {
  readonly Running: boolean;
  readonly ExitCode: number | null;
}

/**
 * A process whose bytes come multiplexed over a stream of the engine. How it ended is what the engine says once the
 * stream has come to its end; of one that broke, the engine knows nothing that could be trusted.
 */
export function processOf(stream: Duplex, inspect: () => Promise<Known>): RemoteProcess {
  const onOutput: ((data: Buffer) => void)[] = [];
  const onErrors: ((data: Buffer) => void)[] = [];
  let beginning = '';
  let listening = false;
  let released = false;
  const listen = () => {
    if (listening) return;
    listening = true;
    demultiplex(
      stream,
      (data) => {
        if (beginning.length < 1000) beginning += data.toString('utf8', 0, 1000);
        for (const hear of onOutput) hear(data);
      },
      (data) => {
        for (const hear of onErrors) hear(data);
      },
    );
  };
  let broke: string | undefined;
  stream.on('error', (error) => {
    broke = error.message;
  });
  const ended = new Promise<Ending>((resolve) => {
    stream.once('end', () => released || endingOf(inspect, beginning).then(resolve));
    stream.once('close', () => {
      if (stream.readableEnded && broke === undefined) return;
      resolve({ how: 'lost', reason: broke ?? 'the connection to the Docker engine was closed' });
    });
  });
  return {
    write: (data) => void (stream.writable && stream.write(data)),
    onOutput: (hear) => {
      onOutput.push(hear);
      listen();
    },
    onErrors: (hear) => void onErrors.push(hear),
    ended,
    release: () => {
      released = true;
      stream.removeAllListeners('data').resume();
      stream.end(() => stream.destroy());
      if ('unref' in stream) (stream as Duplex & { unref(): void }).unref();
    },
  };
}

/**
 * Parts the frames of the engine: 1 for output or 2 for errors, three bytes of nothing, the length (4 bytes, big endian),
 * the bytes. docker-modem's own calls itself for each frame: thousands of small ones at once overflow its stack.
 */
function demultiplex(
  stream: Duplex,
  out: (data: Buffer) => void,
  errors: (data: Buffer) => void,
): void {
  let rest: Buffer = Buffer.alloc(0);
  stream.on('data', (data: Buffer) => {
    rest = rest.length === 0 ? data : Buffer.concat([rest, data]);
    while (rest.length >= HEAD) {
      const end = HEAD + rest.readUInt32BE(4);
      if (rest.length < end) return;
      const hear = rest[0] === 2 ? errors : out;
      hear(rest.subarray(HEAD, end));
      rest = rest.subarray(end);
    }
  });
}

const HEAD = 8;

/** A moment lies between the end of the stream and that of the process in the engine's books. */
async function endingOf(inspect: () => Promise<Known>, beginning: string): Promise<Ending> {
  try {
    for (let tries = 0; tries < 50; tries++) {
      const { Running, ExitCode } = await inspect();
      if (!Running && ExitCode !== null) return inWords(ExitCode, beginning);
      await pause(100);
    }
    return { how: 'lost', reason: 'the Docker engine closed the stream of a process that goes on' };
  } catch (error) {
    return { how: 'lost', reason: `the Docker engine: ${(error as Error).message.trim()}` };
  }
}

/** 126 is also what the engine says of a process whose stream it lost, however it ended. */
function inWords(code: number, beginning: string): Ending {
  if ((code === 126 || code === 127) && NOT_STARTED.test(beginning))
    return { how: 'unstarted', reason: `exit code ${code}` };
  if (code === 126) return { how: 'lost', reason: 'the Docker engine lost the stream' };
  const signal = code > 128 ? SIGNALS.get(code - 128) : undefined;
  return signal === undefined ? { how: 'exit', code } : { how: 'signal', signal };
}

/** Docker with runc, and what has come with other versions and with Podman. */
const NOT_STARTED =
  /^(OCI runtime exec failed|unable to find user|unable to find group|no matching entries|chdir to cwd|Error: crun|crun: )/;

const SIGNALS: ReadonlyMap<number, string> = new Map(
  Object.entries(constants.signals).map(([name, number]) => [number, name]),
);
