// What is published: few files in place of some two hundred, each of which costs an importing process about half a
// millisecond. Names and comments stay as they are.
import { chmodSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'rolldown';

const root = fileURLToPath(new URL('..', import.meta.url));
// Files of an earlier bundle would be published with this one.
rmSync(`${root}dist/bundle`, { recursive: true, force: true });

await build({
  cwd: root,
  input: { index: 'dist/index.js', testing: 'dist/testing.js', main: 'dist/cli/main.js' },
  platform: 'node',
  // Dependencies are the installer's affair.
  external: [/^[^./]/],
  logLevel: 'warn',
  output: {
    dir: 'dist/bundle',
    chunkFileNames: '[name].js',
    codeSplitting: {
      groups: [
        // What the command needs before it knows which subcommand is wanted.
        { name: 'base', test: /dist\/(errors|arguments|node\/package-root|hpt\/geometry)\.js$/, priority: 2 },
        { name: 'library', test: /dist\/(node|hpt|format|vm|io|framing|snapshot|migration)\//, priority: 1 },
      ],
    },
  },
});
// npm sets this when it installs the package; in a clone `npx kvm-htab` runs the file as it stands here.
chmodSync(`${root}dist/bundle/main.js`, 0o755);
