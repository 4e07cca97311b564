import { readFileSync, writeFileSync } from 'node:fs';
import { brotliDecompressSync } from 'node:zlib';
import { expect } from 'vitest';
import { run } from '../../lib/cli/program.js';
import { captureOutput } from './capture.js';

export const FIXTURE = 'qemu-10.0.2-p9hash-1g';

/** Unpacks the table of a guest to this file. */
export function fixture(file: string): string {
  const packed = new URL(`../fixtures/tables/${FIXTURE}.snap.br`, import.meta.url);
  writeFileSync(file, brotliDecompressSync(readFileSync(packed)));
  return file;
}

/** What a command that goes well writes to stdout. */
export async function outputOf(...args: string[]): Promise<string> {
  const output = captureOutput();
  expect([await run(args, output), output.stderr.text]).toEqual([0, '']);
  return output.stdout.text;
}
