import { spawnSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { lines, quote, type Script, sh, type Value } from '../src/shell.ts';

const SHELLS: readonly { shell: readonly string[] }[] = [
  { shell: ['dash'] },
  { shell: ['bash'] },
  { shell: ['busybox', 'sh'] },
];

/** Any text a file name or a setting may hold: every character of Unicode but NUL, and what shells care about often. */
const word = fc.oneof(
  fc.string({ unit: 'binary' }).filter((text) => !text.includes('\0')),
  fc.string({ unit: fc.constantFrom(...'\'"\\$`!#~*?[]{}()<>|&;=-% \t\n\r\u001bañ') }),
  fc.constantFrom(
    '',
    '-n',
    "'",
    "it's a tmp ",
    '$(id)',
    '`id`',
    '\\',
    '%s',
    '{a,b}',
    'EOF\n',
    '=ls',
  ),
);

describe('a value is one literal word', () => {
  test.each(SHELLS)('in $shell', ({ shell }) => {
    fc.assert(
      fc.property(fc.array(word, { minLength: 1, maxLength: 100 }), (words) => {
        expect(said(sh`printf '%s\0' ${words}`, shell)).toEqual(words);
      }),
      { numRuns: 25 },
    );
  });

  test('beside other text, in a command substitution, after an assignment', () => {
    const path = "it's $HOME";
    const script = sh`
      x=${path}/y
      printf '%s\0' "$x" shared/${path} "$(printf %s ${path})" ${7} ${[1, 'a b']}`;
    expect(said(script)).toEqual([`${path}/y`, `shared/${path}`, path, '7', '1', 'a b']);
  });
});

describe('a spliced script keeps its meaning', () => {
  interface Written {
    readonly script: Script;
    readonly says: readonly string[];
  }
  const leaf: fc.Arbitrary<Written> = fc.tuple(word, fc.nat(3)).map(([value, kind]) => ({
    script: [
      sh`printf '%s\0' ${value}`,
      sh`
        printf '%s\0' ${value} # don't "mind`,
      sh`
        set -- ${value}
        printf '%s\0' "\${1}"`,
      sh`
        printf '%s\0' ${value} <<'EOF'
          it's "$(ignored
        EOF`,
    ][kind] as Script,
    says: [value],
  }));
  const { written } = fc.letrec<{ written: Written }>((tie) => ({
    written: fc.oneof(
      { maxDepth: 4 },
      leaf,
      fc.tuple(tie('written'), tie('written'), fc.nat(4)).map(([a, b, kind]) => ({
        script: [
          lines(a.script, b.script),
          sh`
            ${a.script}
            ${b.script}
          `,
          sh`
            if true; then
              ${a.script}
            fi
            { ${b.script}
            }`,
          sh`
            (
            ${a.script}
            ) || exit 1
            case x in
              x)
                ${b.script}
            esac`,
          sh`
            both() {
              ${a.script}
              # it's b's turn
              ${b.script}
            }
            both`,
        ][kind] as Script,
        says: [...a.says, ...b.says],
      })),
    ),
  }));

  test.each(SHELLS)('in $shell', ({ shell }) => {
    fc.assert(
      fc.property(written, ({ script, says }) => {
        expect(run(script, [...shell, '-n'])).toEqual('');
        expect(said(script, shell)).toEqual(says);
      }),
      { numRuns: 40 },
    );
  });
});

test('the text is the template without its indentation, the shell’s own $ and ` freed', () => {
  const inner = sh`ln -s ${'a'} b`;
  expect(
    `${sh`
    for x in 1; do
      echo "\${x}" \`date\`

      ${inner}
    done
  `}`,
  ).toBe('for x in 1; do\n  echo "${x}" `date`\n\n  ln -s \'a\' b\ndone');
  expect(sh``.text).toBe('');
  expect(sh`echo ${[]} a`.text).toBe('echo  a');
});

describe('what could not be one literal word is refused where it is written', () => {
  const x = '$(id)';
  test.each<[string, () => Script]>([
    ['"', () => sh`echo "${x}"`],
    ['"', () => sh`echo "$(echo "${x}")"`],
    ["'", () => sh`echo '${x}'`],
    ['`', () => sh`echo \`echo ${x}\``],
    ['${', () => sh`echo \${y:-${x}}`],
    ['$((', () => sh`echo $((1 + ${x}))`],
    ['#', () => sh`echo 1 # ${x}`],
    [
      '<<',
      () => sh`
      cat <<EOF
      ${x}
      EOF`,
    ],
    ['bare $', () => sh`echo $${x}`],
    ['not closed', () => sh`echo "a`],
    ['not closed', () => sh`( echo`],
    ['line of its own', () => sh`${sh`echo a # b`}; echo c`],
    ['line of its own', () => sh`( ${sh`echo a # b`} )`],
    ['undefined', () => sh`echo ${undefined as unknown as Value}`],
    ['null', () => sh`echo ${null as unknown as Value}`],
    ['true', () => sh`echo ${true as unknown as Value}`],
    ['Promise', () => sh`echo ${Promise.resolve('a') as unknown as Value}`],
    ['Function', () => sh`echo ${(() => 'a') as unknown as Value}`],
    ['undefined', () => sh`echo ${['a', undefined] as unknown as Value}`],
    ['NaN', () => sh`echo ${Number.NaN}`],
    ['NUL', () => sh`echo ${'a\0b'}`],
    ['surrogate', () => sh`echo ${'a\ud800b'}`],
  ])('%s', (why, write) => {
    expect(write).toThrow(TypeError);
    expect(write).toThrow(why);
  });

  test.each<[() => Script]>([
    [() => sh`echo "it's" ${x}`],
    [() => sh`echo \" ${x}`],
    [() => sh`echo '\\' ${x}`],
    [() => sh`echo a#b "$#" \${#y} ${x}`],
    [() => sh`case y in a) echo ${x} ;; "b") echo ${x} ;; esac`],
    [() => sh`echo "$(echo "it's $(echo ${x})")" $((1 << 2)) ${x}`],
    [() => sh`echo \$${x}`],
  ])('but not what is bare: %s', (write) => {
    expect(run(write(), ['sh', '-n'])).toBe('');
    expect(write().text).toContain(quote(x));
  });
});

function said(script: Script, shell: readonly string[] = ['sh']): readonly string[] {
  return run(script, shell).split('\0').slice(0, -1);
}

function run(script: Script, [shell = 'sh', ...flags]: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(shell, [...flags, '-s'], {
    input: script.text,
    encoding: 'utf8',
    env: { PATH: process.env.PATH },
  });
  if (status !== 0) throw new Error(`${shell} ended with ${status}: ${stderr}\n${script.text}`);
  return stdout;
}
