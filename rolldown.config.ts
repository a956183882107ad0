import { cpSync, readdirSync } from 'node:fs';
import { defineConfig, type Plugin } from 'rolldown';

/**
 * What is published: each command in one piece with what it needs of the libraries, which loads in half the time of
 * their many files. CommonJS, for of nothing else can Node 20 keep what it compiled. dockerode reads files beside its
 * own; without the native parts, ssh2 takes Node's.
 */
export default defineConfig({
  input: ['src/cli.ts', 'src/compile-cache.ts'],
  platform: 'node',
  transform: { target: 'node20.19' },
  plugins: [targetPrograms()],
  external: [/\.node$/, 'cpu-features', 'dockerode'],
  output: {
    dir: 'dist',
    format: 'cjs',
    strict: true,
    cleanDir: true,
    entryFileNames: '[name].cjs',
    chunkFileNames: '[name].cjs',
    codeSplitting: {
      // one file for what every deploy needs: reading ten takes longer than running them
      groups: [
        { name: 'start', test: /src.(cli|command-line)\.ts$/, priority: 1 },
        { name: 'work', test: /src.(commands.(deploy|restart|rollback)|runners.ssh.hosts)\.ts$/ },
      ],
    },
  },
});

/** What runs on the target travels as it is. */
function targetPrograms(): Plugin {
  const files = () => readdirSync('src/target').filter((name) => /\.(py|sh)$/.test(name));
  return {
    name: 'target-programs',
    buildStart() {
      for (const name of files()) this.addWatchFile(`src/target/${name}`);
    },
    writeBundle() {
      for (const folder of ['build', 'dist'])
        for (const name of files()) cpSync(`src/target/${name}`, `${folder}/target/${name}`);
    },
  };
}
