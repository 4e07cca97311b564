// Runs test/native/smoke.mjs under valgrind: no memory error, nothing definitely lost through the addon.
import { spawnSync } from 'node:child_process';
import { hasCommand, root } from './native/toolchain.mjs';

if (!hasCommand('valgrind')) {
  process.stderr.write('valgrind: cannot run: valgrind is not installed\n');
  process.exit(1);
}
const options = ['--quiet', '--error-exitcode=1', '--leak-check=full', '--show-leak-kinds=definite'];
const { status } = spawnSync(
  'valgrind',
  // V8's compilers make code that valgrind takes for errors; the interpreter does not.
  [...options, '--errors-for-leak-kinds=definite', process.execPath, '--jitless', 'test/native/smoke.mjs'],
  { cwd: root, stdio: 'inherit' },
);
process.exit(status ?? 1);
