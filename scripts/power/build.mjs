// Everything of this project that runs inside the guest, gathered in one folder.
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { makeCertificates } from './certificates.mjs';
import { run, say } from './command.mjs';
import { MODE, folderEntry } from './cpio.mjs';
import { pack } from './initramfs.mjs';

/** Program -> its sources in test/power/vmm. */
const PROGRAMS = {
  handover: ['handover.c'],
  reader: ['reader.c'],
  launcher: ['launcher.c', 'vm.c'],
  stepper: ['stepper.c', 'vm.c', 'control.c', 'guest/stubs.S'],
  live: ['live.c', 'vm.c', 'vcpu_threads.c', 'registers.c', 'stats.c', 'control.c'],
};
const KILLER = ['test/native/kill-tracer.cc', 'native/attach.cc', 'native/tracer.cc'];
/** Programs of one source in test/power/kernel-bugs. */
const KERNEL_BUGS = [
  ...['several-records', 'return-beyond-count', 'table-freed', 'order-zero', 'rehash-collision'],
  ...['lost-changes', 'debugfs-raw-words', 'preempted-lock'],
];
const GUEST = ['guest/start.S', 'guest/checker.c', 'guest/step.c', 'guest/mapping.c', 'guest/vcpu.c'];

const COMMON_FLAGS = ['-O1', '-Wall', '-Wextra', '-Werror', '-static'];
// No vector registers, which KVM_RUN may lose. Static, so that nothing but the kernel is asked for inside.
const PROGRAM_FLAGS = ['-std=c17', '-D_GNU_SOURCE', '-pthread', '-mno-vsx', '-mno-altivec'];
// Bare code for a fixed address; the compiler must not make calls of memcpy out of loops.
const GUEST_FLAGS = [
  '-std=c17',
  ['-ffreestanding', '-nostdlib', '-fno-pic', '-no-pie', '-mcmodel=medium', '-fno-stack-protector'],
  ['-fno-builtin', '-fno-tree-loop-distribute-patterns', '-fno-asynchronous-unwind-tables'],
  ['-mcpu=power8', '-mno-vsx', '-mno-altivec', '-msoft-float', '-Wl,--build-id=none', '-Wl,-N'],
].flat();

/**
 * @param {string} repository
 * @param {string} app folder that becomes /app of the guest
 * @param {import('./options.mjs').TestOptions} tests
 */
export async function buildApp(repository, app, tests) {
  await rm(app, { recursive: true, force: true });
  say('compiling what runs in the guest');
  await compileTypeScript(repository, app);
  await compilePrograms(join(repository, 'test/power/vmm'), join(app, 'bin'));
  const killer = ['-std=c++17', ...COMMON_FLAGS, '-o', join(app, 'bin/kill-tracer'), ...KILLER];
  await run('powerpc64le-linux-gnu-g++', killer, { cwd: repository });
  await compileWorker(join(repository, 'test/power/qemu/worker.c'), join(app, 'bin/guest.cpio.gz'));
  await copyAddon(repository, app);
  await copyPackages(repository, app);
  await cp(join(repository, 'test/golden/data'), join(app, 'test/golden/data'), { recursive: true });
  await makeCertificates(join(app, 'certificates'), ['source', 'destination']);
  await writeFile(join(app, 'options.json'), JSON.stringify(tests));
  await writeFile(join(app, 'run'), 'exec bin/launcher node --expose-gc test/power/main.js\n');
}

/**
 * @param {string} repository
 * @param {string} target
 */
async function compileTypeScript(repository, target) {
  const compiler = join(repository, 'node_modules/typescript/bin/tsc');
  // Types are checked elsewhere (npm run types).
  const flags = ['--noCheck', '--noEmit', 'false', '--rootDir', repository, '--outDir', target];
  await run(process.execPath, [compiler, '-p', join(repository, 'tsconfig.json'), ...flags]);
}

/**
 * @param {string} sources
 * @param {string} target
 */
async function compilePrograms(sources, target) {
  await mkdir(target, { recursive: true });
  const options = { cwd: sources };
  const compiler = 'powerpc64le-linux-gnu-gcc';
  for (const [name, files] of Object.entries(PROGRAMS)) {
    await run(compiler, [...COMMON_FLAGS, ...PROGRAM_FLAGS, '-o', join(target, name), ...files], options);
  }
  for (const name of KERNEL_BUGS) {
    const source = `../kernel-bugs/${name}.c`;
    await run(compiler, [...COMMON_FLAGS, ...PROGRAM_FLAGS, '-o', join(target, name), source], options);
  }
  const guest = join(target, 'checker.elf');
  const script = ['-Wl,-T,guest/checker.ld', '-o', guest];
  await run(compiler, [...COMMON_FLAGS, ...GUEST_FLAGS, ...script, ...GUEST], options);
  await run('powerpc64le-linux-gnu-objcopy', ['-O', 'binary', guest, join(target, 'checker.bin')]);
}

/**
 * The file system of a Linux guest in QEMU: one program, its first process.
 *
 * @param {string} source
 * @param {string} initramfs
 */
async function compileWorker(source, initramfs) {
  const program = `${initramfs}.init`;
  await run('powerpc64le-linux-gnu-gcc', [...COMMON_FLAGS, '-D_GNU_SOURCE', '-s', '-o', program, source]);
  await pack(
    [
      folderEntry('dev'),
      folderEntry('debug'),
      folderEntry('proc'),
      { path: 'dev/console', mode: MODE.terminal, device: /** @type {[number, number]} */ ([5, 1]) },
      { path: 'dev/hvc1', mode: MODE.terminal, device: /** @type {[number, number]} */ ([229, 1]) },
      { path: 'init', mode: MODE.program, data: await readFile(program) },
    ],
    initramfs,
  );
  await rm(program);
}

/**
 * The very binary that the package ships.
 *
 * @param {string} repository
 * @param {string} app
 */
async function copyAddon(repository, app) {
  await run(process.execPath, [join(repository, 'scripts/prebuild.mjs'), 'ppc64le']);
  await cp(join(repository, 'prebuilds/linux-ppc64'), join(app, 'prebuilds/linux-ppc64'), {
    recursive: true,
  });
}

/**
 * The packages needed at run time.
 *
 * @param {string} repository
 * @param {string} app
 */
async function copyPackages(repository, app) {
  await cp(join(repository, 'package.json'), join(app, 'package.json'));
  const list = ['ls', '--omit=dev', '--all', '--parseable'];
  const [, ...packages] = (await run('npm', list, { cwd: repository })).trim().split('\n');
  for (const path of packages) {
    await cp(path, join(app, relative(repository, path)), { recursive: true });
  }
}
