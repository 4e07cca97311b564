// Bundles what is published: code and types. Each file costs an importing process about half a millisecond, as do
// 15 KB of code, and there are some two hundred files. Names are kept.
import { chmodSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'rolldown';
import { dts } from 'rolldown-plugin-dts';
import { chunks } from './bundle-chunks.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
// Files of an earlier bundle would be published with this one.
for (const folder of ['bundle', 'types', 'page'])
  rmSync(`${root}dist/${folder}`, { recursive: true, force: true });

await build({
  cwd: root,
  input: { index: 'dist/index.js', testing: 'dist/testing.js', main: 'dist/cli/main.js' },
  platform: 'node',
  // npm installs the dependencies.
  external: [/^[^./]/],
  logLevel: 'warn',
  output: {
    dir: 'dist/bundle',
    // The types have them.
    comments: { jsdoc: false },
    // Every command has a run.ts: that chunk is called after the command.
    chunkFileNames: ({ name, facadeModuleId }) =>
      `${name === 'run' && facadeModuleId ? path.basename(path.dirname(facadeModuleId)) : name}.js`,
    codeSplitting: { groups: chunks },
  },
});
await build({
  cwd: root,
  input: { index: './dist/index.d.ts', testing: './dist/testing.d.ts' },
  external: [/^[^./]/],
  logLevel: 'warn',
  plugins: [dts({ dtsInput: true })],
  // What both entries show stands in one file: a class that is declared twice is two types.
  output: { dir: 'dist/types', chunkFileNames: 'shared.d.ts' },
});

// What stands in every report: a script for browsers, with the charts' library, and its styles.
const page = 'lib/cli/report-page/page';
/** @param {string} name of a file of uPlot */
const ofUplot = (name) => readFileSync(`${root}node_modules/uplot/${name}`, 'utf8');
await build({
  cwd: root,
  input: `${page}/main.ts`,
  platform: 'browser',
  tsconfig: `${page}/tsconfig.json`,
  logLevel: 'warn',
  output: {
    file: 'dist/page/page.js',
    format: 'iife',
    minify: true,
    comments: false,
    postBanner: `/*! With uPlot, ${ofUplot('LICENSE').replace(/^.*\n\n/, '')}*/`,
  },
});
writeFileSync(
  `${root}dist/page/page.css`,
  `${ofUplot('dist/uPlot.min.css')}\n${readFileSync(`${root}${page}/style.css`, 'utf8')}`,
);

// npm sets this when it installs the package; in a clone `npx kvm-htab` runs this very file.
chmodSync(`${root}dist/bundle/main.js`, 0o755);
