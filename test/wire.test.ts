import fc from 'fast-check';
import { expect, test } from 'vitest';
import { encodeFrame, type Frame, FrameReader } from '../src/wire.ts';

const GREETING = Buffer.from('\nhello 1\n');

function readAll(chunks: readonly Buffer[], reader = new FrameReader(GREETING)): readonly Frame[] {
  return chunks.flatMap((chunk) => [...reader.read(chunk)]);
}

function cut(data: Buffer, places: readonly number[]): readonly Buffer[] {
  const ends = [...places.map((place) => place % (data.length + 1)), data.length].sort(
    (a, b) => a - b,
  );
  return ends.map((end, index) => data.subarray(ends[index - 1] ?? 0, end));
}

test('frames come out as they went in, wherever the stream is cut, whatever noise is before it', () => {
  const word = fc.string({ unit: 'binary', maxLength: 300 }).filter((text) => !text.includes('\0'));
  const frame = fc.record({
    kind: fc.constantFrom('S', 'O', 'D'),
    words: fc.array(word, { minLength: 1, maxLength: 5 }),
  });
  fc.assert(
    fc.property(
      fc.string().filter((noise) => !noise.includes('\nhello')),
      fc.array(frame, { maxLength: 20 }),
      fc.array(fc.nat(), { maxLength: 30 }),
      (noise, frames, places) => {
        const stream = Buffer.concat([
          Buffer.from(noise),
          GREETING,
          ...frames.map(({ kind, words }) => encodeFrame(kind, words.join('\0'))),
        ]);
        expect(readAll(cut(stream, places))).toEqual(frames);
      },
    ),
  );
});

test('a frame that is cut short is no frame', () => {
  const stream = Buffer.concat([GREETING, encodeFrame('S', '0'), encodeFrame('D', 'done')]);
  expect(readAll([stream.subarray(0, -1)])).toEqual([{ kind: 'S', words: ['0'] }]);
});

test('a megabyte in small pieces is put together in no time', () => {
  const frame = encodeFrame('O', 'x'.repeat(1 << 20));
  const pieces = Array.from({ length: frame.length / 64 + 1 }, (_, index) =>
    frame.subarray(index * 64, index * 64 + 64),
  );
  const begun = performance.now();
  const [read] = readAll([GREETING, ...pieces]);
  expect(read?.words[0]).toHaveLength(1 << 20);
  expect(performance.now() - begun).toBeLessThan(2000);
});

test('where no greeting comes, what came is told: the last of it', () => {
  const reader = new FrameReader(GREETING);
  readAll([Buffer.from('a'.repeat(5000)), Buffer.from('This account is not available.\n')], reader);
  expect(reader.greeted).toBe(false);
  expect(reader.noise).toMatch(/^a+This account is not available\.\n$/);
  expect(reader.noise).toHaveLength(2000);
  readAll([GREETING], reader);
  expect([reader.greeted, reader.noise]).toEqual([true, '']);
});

test('a frame is a kind, a length and the bytes', () => {
  expect([...encodeFrame('P', 'é')]).toEqual([0x50, 0, 0, 0, 2, 0xc3, 0xa9]);
});
