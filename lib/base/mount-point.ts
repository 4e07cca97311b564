import { readFile } from 'node:fs/promises';

/** Whether a file is mounted by itself, as into a container: nothing can take its name. */
export async function isMountPoint(file: string): Promise<boolean> {
  const mounts = await readFile('/proc/self/mountinfo', 'utf8').catch(() => '');
  // proc(5): the fifth field, with what would separate fields or lines in octal.
  const escaped = file.replace(
    /[\s\\]/g,
    (character) => `\\${character.charCodeAt(0).toString(8).padStart(3, '0')}`,
  );
  return mounts.split('\n').some((line) => line.split(' ')[4] === escaped);
}
