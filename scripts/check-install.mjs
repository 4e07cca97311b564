// Packs the package, installs the tarball into an empty folder, and uses it there as others would: imported, required,
// from the command line, with the shipped addon and on a machine that has none. Needs dist/ and prebuilds/.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { hostTarget, rebuild, root, targets } from './native/toolchain.mjs';

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

/** @param {string} what @param {string} source run as a module in the folder */
function check(what, source) {
  const file = path.join(folder, 'check.mjs');
  writeFileSync(file, `import assert from 'node:assert/strict';\n${source}`);
  run(process.execPath, [file]);
  process.stderr.write(`check-install: ${what}\n`);
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
  /^(lib\/(?!vm\/kernel-abi\.md$)|build|\.)|^test\/(?!fixtures\/)/.test(name),
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
   await assert.rejects(KvmVm.create({ device: '/nowhere/kvm' }), { reason: 'no-device' });`,
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
run(process.execPath, [path.join(root, 'test/native/smoke.mjs'), installed]);
process.stderr.write('check-install: the shipped addon does all that the built one does\n');
const help = run(path.join(folder, 'node_modules/.bin/kvm-htab'), ['--help']);
if (!help.includes('Usage: kvm-htab')) throw new Error(`kvm-htab --help says ${JSON.stringify(help)}`);
process.stderr.write('check-install: the command runs\n');

const sources = path.join(installed, 'native');
if (!rebuild(sources, /** @type {import('./native/toolchain.mjs').Target} */ (targets[hostTarget ?? '']))) {
  throw new Error('the package does not build from its own sources');
}
execFileSync(process.execPath, [path.join(root, 'test/native/smoke.mjs'), sources], { stdio: 'ignore' });
process.stderr.write('check-install: it builds from its own sources\n');
