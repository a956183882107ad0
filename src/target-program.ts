import { readFileSync } from 'node:fs';
import { deflateSync } from 'node:zlib';

/** A file that travels to the target, as named in `target/`. Read at once: fifty promises take longer. */
export const targetFile = (name: string): Buffer =>
  readFileSync(new URL(`./target/${name}`, import.meta.url));

/** A Python program as one argument of `python3 -c`: base64 in double quotes is safe in every login shell. */
export function packed(source: string, name: string): string {
  const text = deflateSync(source, { level: 9 }).toString('base64');
  return `import zlib,binascii;exec(compile(zlib.decompress(binascii.a2b_base64("${text}")),"${name}","exec"))`;
}

/** With every line where it was, so that a traceback names the right ones. */
export const withoutComments = (source: string): string =>
  source
    .replace(/^ *"""[\s\S]*?"""$/gm, (text) => text.replace(/[^\n]+/g, ''))
    .replace(/(^ *| {2})# .*$/gm, '');

/** Several files as one program, packed: each may import those before it, and the last is run. */
export function packedModules(files: readonly string[]): string {
  const loads = files.map((file, index) => {
    const name = index === files.length - 1 ? '__main__' : file.replace('.py', '');
    const source = withoutComments(`${targetFile(file)}`);
    return `load(${JSON.stringify(name)}, ${JSON.stringify(file)}, ${JSON.stringify(source)})`;
  });
  return packed([LOADER, ...loads, ''].join('\n'), 'loader.py');
}

const LOADER = `import sys
if sys.version_info < (3, 8):
    sys.stderr.write("python3 is older than 3.8: it is %d.%d.%d\\n" % sys.version_info[:3])
    sys.exit(4)
def load(name, file, source):
    module = type(sys)(name)
    if name != "__main__":
        sys.modules[name] = module
    exec(compile(source, file, "exec"), module.__dict__)`;
