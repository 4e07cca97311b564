import { readFile } from 'node:fs/promises';
import path from 'node:path';

export const root = path.resolve(import.meta.dirname, '..');
export const program = path.join(root, 'dist/bundle/main.js');

/** Every README of the project, by its path. */
export const pages = new Map(
  await Promise.all(
    [
      'README.md',
      'lib/README.md',
      'lib/base/README.md',
      'lib/cli/README.md',
      'lib/cli/options.md',
      'lib/inspect/README.md',
      'lib/io/README.md',
      'lib/migration/README.md',
      'lib/qemu/README.md',
      'lib/snapshot/README.md',
      'lib/testing/README.md',
      'lib/vm/README.md',
      'native/README.md',
      'scripts/bench/README.md',
      'scripts/power/README.md',
      'scripts/systemd/README.md',
    ].map(async (name) => [name, await readFile(path.join(root, name), 'utf8')] as const),
  ),
);
export const door = pages.get('README.md')!;
export const commandsPage = pages.get('lib/cli/README.md')!;
export const everything = [...pages.values()].join('\n');

/** The blocks of a language, with the page and the number of each. */
export function blocksOf(language: string): (readonly [page: string, number: number, code: string])[] {
  const block = new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\`$`, 'gm');
  return [...pages].flatMap(([page, text]) =>
    [...text.matchAll(block)].map(([, code], index) => [page, index + 1, code!] as const),
  );
}
