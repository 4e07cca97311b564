import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll } from 'vitest';

/** A folder for one test file, removed after it. To be called where the file is loaded, not inside a test. */
export function scratchFolder(): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'kvm-htab-'));
  afterAll(() => {
    rmSync(folder, { recursive: true, force: true });
  });
  return folder;
}

/** Names of files in a folder of their own each, under {@link scratchFolder}. */
export function scratchFiles(): (name: string) => string {
  const root = scratchFolder();
  return (name) => path.join(mkdtempSync(path.join(root, 'folder-')), name);
}
