// Fails where C or C++ is not as clang-format writes it.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { hasCommand, root } from './native/toolchain.mjs';

if (!hasCommand('clang-format')) {
  process.stderr.write('check-native-format: skipped: clang-format is not installed\n');
  process.exit(0);
}
const files = ['native', 'scripts/bench/addon', 'test/power/vmm', 'test/power/vmm/guest'].flatMap((folder) =>
  readdirSync(path.join(root, folder))
    .filter((name) => /\.(c|cc|h)$/.test(name))
    .map((name) => path.join(folder, name)),
);
const { status } = spawnSync('clang-format', ['--dry-run', '--Werror', ...files], {
  cwd: root,
  stdio: 'inherit',
});
process.exit(status ?? 1);
