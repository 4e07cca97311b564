import { execFile } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { nodeResolve } from '@rollup/plugin-node-resolve';
import * as esbuild from 'esbuild';
import { rollup } from 'rollup';
import { describe, expect, test } from 'vitest';
import { notCompiled } from './cli/processes.js';
import { scratchFolder } from './scratch.js';

/** A project that has kvm-htab installed, and beside it the folder that its bundles are run in, which has nothing. */
const scratch = scratchFolder();
const project = path.join(scratch, 'project');
mkdirSync(path.join(project, 'node_modules'), { recursive: true });
symlinkSync(path.resolve(import.meta.dirname, '..'), path.join(project, 'node_modules/kvm-htab'));

/** @returns the program's file */
function program(name: string, source: string): string {
  const file = path.join(project, `${name}.mjs`);
  writeFileSync(file, source);
  return file;
}

const emulation = program(
  'emulation',
  `import { EmulatedVm, probe, readTable, receiveHtab } from 'kvm-htab';
   import { SeededRandom } from 'kvm-htab/testing';
   async function main() {
     const vm = new EmulatedVm();
     await vm.allocateHpt(18);
     const ptex = new SeededRandom(1).below(16_384);
     const handle = await vm.openHtab({ access: 'write' });
     const record = Buffer.alloc(24);
     record.writeUInt32LE(ptex, 0);
     record.writeUInt16LE(1, 4);
     record[15] = 0x11;
     await handle.writeRecords(record);
     const found = [...(await readTable(vm))].map(([at]) => at === ptex);
     const refusal = await receiveHtab('/nowhere').catch(({ code, reason, hint }) => ({ code, reason, hint }));
     const { problem } = await probe();
     console.log(JSON.stringify({ found, refusal, problem: problem?.code }));
   }
   void main();`,
);

type Bundler = (input: string, output: string) => Promise<unknown>;

const withEsbuild =
  (format: 'esm' | 'cjs'): Bundler =>
  (input, output) =>
    esbuild.build({
      entryPoints: [input],
      outfile: output,
      bundle: true,
      platform: 'node',
      format,
      logLevel: 'error',
    });

const withRollup =
  (format: 'es' | 'cjs'): Bundler =>
  async (input, file) => {
    const bundle = await rollup({
      input,
      plugins: [nodeResolve({ preferBuiltins: true })],
      onwarn: ({ code, message }) => {
        throw new Error(`${code ?? ''} ${message}`);
      },
    });
    await bundle.write({ file, format, inlineDynamicImports: true });
    await bundle.close();
  };

const bundlers: readonly [name: string, bundler: Bundler, extension: string][] = [
  ['esbuild, esm', withEsbuild('esm'), 'mjs'],
  ['esbuild, cjs', withEsbuild('cjs'), 'cjs'],
  ['rollup, es', withRollup('es'), 'mjs'],
  ['rollup, cjs', withRollup('cjs'), 'cjs'],
];

async function run(file: string): Promise<string> {
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [file], { cwd: path.dirname(file) });
  return stdout + stderr;
}

describe.skipIf(notCompiled !== undefined)(
  `a program bundled away from node_modules${notCompiled === undefined ? '' : ` (${notCompiled})`}`,
  () => {
    test.each(bundlers)('emulates, and says why it has no addon: %s', async (name, bundler, extension) => {
      const output = path.join(scratch, name.replaceAll(/\W+/g, '-'), `bundle.${extension}`);
      mkdirSync(path.dirname(output));
      await bundler(emulation, output);
      const { found, refusal, problem } = JSON.parse(await run(output)) as {
        found: boolean[];
        refusal: { code: string; reason: string; hint: string };
        problem: string;
      };
      expect(found).toEqual([true]);
      expect(refusal.code).toBe('ERR_HTAB_UNAVAILABLE');
      expect(problem).toBe('ERR_HTAB_UNAVAILABLE');
      if (process.platform !== 'linux' || !['x64', 'ppc64'].includes(process.arch)) return;
      expect(refusal.reason).toBe('no-prebuild');
      expect(refusal.hint).toContain('mark kvm-htab as external');
    });

    test('leaves out what it does not use, as `sideEffects` promises', async () => {
      const input = program('unused', `import 'kvm-htab';\nimport 'kvm-htab/testing';\n`);
      const { outputFiles } = await esbuild.build({
        entryPoints: [input],
        bundle: true,
        write: false,
        platform: 'node',
        format: 'esm',
        logLevel: 'error',
      });
      expect(outputFiles.map(({ text }) => text.trim())).toEqual(['']);
    });

    test('the import changes nothing outside the package', async () => {
      const input = program(
        'imports',
        `const before = look();
         await import('kvm-htab');
         await import('kvm-htab/testing');
         function look() {
           return JSON.stringify([
             ...[globalThis, process, Object.prototype, Array.prototype, Promise.prototype, Error, Symbol].map((each) =>
               Reflect.ownKeys(each).map(String).sort()),
             process.eventNames().map(String),
             process.getActiveResourcesInfo().filter((name) => name.includes('Timer')),
           ]);
         }
         console.log(look() === before);`,
      );
      expect(await run(input)).toBe('true\n');
    });
  },
);
