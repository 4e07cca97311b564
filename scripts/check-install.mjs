// Packs the package, installs the tarball into an empty folder, and uses it there as others would, on each line of Node:
// imported, required, bundled, from TypeScript, from the command line, with the shipped addon and on a machine that has
// none. Needs dist/ and prebuilds/.
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { build } from 'esbuild';
import { hostTarget, rebuild, root, targets } from './native/toolchain.mjs';
import { otherNodes } from './nodes.mjs';
import { compilerOptions } from './readme-options.mjs';

const folder = mkdtempSync(path.join(tmpdir(), 'kvm-htab-install-'));
process.on('exit', () => {
  rmSync(folder, { recursive: true });
});

/** @param {string} command @param {string[]} args @param {string} [cwd] @param {NodeJS.ProcessEnv} [environment] */
function run(command, args, cwd = folder, environment = {}) {
  return execFileSync(command, args, {
    cwd,
    encoding: 'utf8',
    // A build of the checkout's own must not stand in for what is shipped.
    env: { ...process.env, PREBUILDS_ONLY: '1', ...environment },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

const nodes = [process.execPath, ...otherNodes()];

/** @param {string} what @param {(node: string) => unknown} use is run with each Node */
function onEachNode(what, use) {
  for (const node of nodes) use(node);
  process.stderr.write(`check-install: ${what}\n`);
}

/** @param {string} what @param {string} source run as a module in the folder */
function check(what, source) {
  const file = path.join(folder, 'check.mjs');
  writeFileSync(file, `import assert from 'node:assert/strict';\n${source}`);
  onEachNode(what, (node) => run(node, [file]));
}

const packed = run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], root);
/** @typedef {{ filename: string, size: number, files: { path: string }[] }} Tarball */
/** @type {unknown} */
const report = JSON.parse(packed);
const [tarball] = /** @type {Tarball[]} */ (report);
if (tarball === undefined) throw new Error('npm pack made nothing');
process.stderr.write(
  `check-install: ${tarball.filename}, ${tarball.size} bytes, ${tarball.files.length} files\n`,
);

const manifest = readFileSync(path.join(root, 'package.json'), 'utf8');
for (const script of ['preinstall', 'install', 'postinstall', 'prepare']) {
  if (manifest.includes(`"${script}":`))
    throw new Error(`the package has a script ${script}: npm blocks those`);
}
const names = tarball.files.map(({ path: name }) => name);
for (const name of ['linux-x64', 'linux-ppc64'].map((each) => `prebuilds/${each}/node.napi.glibc.node`)) {
  if (!names.includes(name)) throw new Error(`the tarball has no ${name}`);
}
const stray = names.filter((name) =>
  /^(lib\/(?!.*\.(md|sql)$|testing\/agent\/)|build|\.)|^test\/(?!fixtures\/)/.test(name),
);
if (stray.length > 0) throw new Error(`the tarball has ${stray.join(', ')}`);

writeFileSync(path.join(folder, 'package.json'), '{"private": true}');
const quiet = ['--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error'];
run('npm', ['install', ...quiet, path.join(folder, tarball.filename)]);
// From a lock file npm compiles whatever has a binding.gyp at its root.
run('npm', ['ci', ...quiet], folder, { CXX: '/bin/false' });
if (existsSync(path.join(folder, 'node_modules/kvm-htab/build')))
  throw new Error('npm ci compiles the addon');

check(
  'imported: the emulated kernel answers',
  `import { openVm } from 'kvm-htab';
   import { conformanceCases } from 'kvm-htab/testing';
   const vm = await openVm({ backend: 'emulated' });
   await vm.allocateHpt(18);
   const handle = await vm.openHtab();
   assert.equal(await handle.read(new Uint8Array(4096)), 8);
   assert.ok(conformanceCases.length > 0);`,
);
check(
  'required',
  `import { createRequire } from 'node:module';
   const { KvmVm } = createRequire(import.meta.url)('kvm-htab');
   assert.equal(typeof KvmVm.create, 'function');`,
);
check(
  'the shipped addon loads and asks for its device',
  `import { KvmVm } from 'kvm-htab';
   // Of an x64 machine it says that first.
   const isMissing = (error) => [error.reason, error.cause?.reason].includes('no-device');
   await assert.rejects(KvmVm.create({ device: '/nowhere/kvm' }), isMissing);`,
);
check(
  'on a machine without an addon everything but kvm works',
  `Object.defineProperty(process, 'arch', { value: 'riscv64' });
   const { EmulatedVm, KvmVm, openVm } = await import('kvm-htab');
   await assert.rejects(KvmVm.create(), { reason: 'arch' });
   await assert.rejects(openVm({ backend: 'kvm' }), { reason: 'arch' });
   await new EmulatedVm().allocateHpt(18);`,
);
const installed = path.join(folder, 'node_modules/kvm-htab');
const bundle = path.join(installed, 'dist/bundle');
onEachNode('every file that it has can be parsed', (node) => {
  for (const name of readdirSync(bundle)) run(node, ['--check', path.join(bundle, name)]);
});
onEachNode('the shipped addon does all that the built one does', (node) =>
  run(node, [path.join(root, 'test/native/smoke.mjs'), installed]),
);
onEachNode('the command runs', (node) => {
  const help = run(node, [path.join(bundle, 'main.js'), '--help']);
  if (!help.includes('Usage: kvm-htab')) throw new Error(`kvm-htab --help says ${JSON.stringify(help)}`);
  const file = path.join(folder, 'snapshot');
  for (const command of ['save', 'load'])
    run(node, [path.join(bundle, 'main.js'), command, file, '--emulated', '--quiet']);
});
run(path.join(folder, 'node_modules/.bin/kvm-htab'), ['--version']);

// As a user's compiler does it, with the options that the README gives.
symlinkSync(path.join(root, 'node_modules/@types'), path.join(folder, 'node_modules/@types'));
const typed = path.join(folder, 'typed');
mkdirSync(typed);
writeFileSync(
  path.join(typed, 'main.mts'),
  `import { EmulatedVm, readTable } from 'kvm-htab';
   await using vm = new EmulatedVm();
   await vm.allocateHpt(18);
   const table = await readTable(vm);
   for (const [ptex, { v, r }] of table) console.log(ptex, v, r);
   if (table.order !== 18) throw new Error('another table');`,
);
writeFileSync(
  path.join(typed, 'tsconfig.json'),
  JSON.stringify({ compilerOptions: { ...compilerOptions(), strict: true }, include: ['main.mts'] }),
);
run(process.execPath, [path.join(root, 'node_modules/typescript/bin/tsc'), '-p', typed]);
onEachNode('a program that TypeScript compiled runs', (node) => run(node, [path.join(typed, 'main.mjs')]));

// With the package as external, as the README tells those who use the addon.
for (const [format, name] of /** @type {const} */ ([
  ['esm', 'bundle.mjs'],
  ['cjs', 'bundle.cjs'],
])) {
  await build({
    stdin: {
      contents: `import { adoptHtab } from 'kvm-htab';
        adoptHtab(0xffff).then(
          () => { throw new Error('there is no such descriptor'); },
          (error) => { if (error.errnoName !== 'EBADF') throw error; });`,
      resolveDir: folder,
    },
    outfile: path.join(folder, name),
    bundle: true,
    platform: 'node',
    format,
    external: ['kvm-htab'],
  });
  onEachNode(`a bundle uses the addon, ${format}`, (node) => run(node, [path.join(folder, name)]));
}

const sources = path.join(installed, 'native');
if (!rebuild(sources, /** @type {import('./native/toolchain.mjs').Target} */ (targets[hostTarget ?? '']))) {
  throw new Error('the package does not build from its own sources');
}
execFileSync(process.execPath, [path.join(root, 'test/native/smoke.mjs'), sources], { stdio: 'ignore' });
process.stderr.write('check-install: it builds from its own sources\n');
