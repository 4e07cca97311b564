import { readFileSync, readdirSync } from 'node:fs';
import { brotliDecompressSync } from 'node:zlib';

const DATA = new URL('data/', import.meta.url);

/** One recorded operation; its fields are described in data/README.md. */
export type Operation = Readonly<Record<string, unknown>> & { readonly op: string };

/** Names of the recordings of a kind. */
export function recordings(kind: 'random' | 'scripted'): string[] {
  return readdirSync(DATA)
    .filter((name) => name.startsWith(`${kind}-`))
    .sort();
}

export function readRecording(name: string): Operation[] {
  const lines = brotliDecompressSync(readFileSync(new URL(name, DATA))).toString();
  return lines
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Operation);
}

export const numberOf = (operation: Operation, field: string): number => Number(operation[field]);
export const textOf = (operation: Operation, field: string): string => {
  const value = operation[field];
  return typeof value === 'string' ? value : '';
};
export const bytesOf = (operation: Operation, field: string): Buffer =>
  Buffer.from(textOf(operation, field), 'hex');

/** What a recorded call returned, as the emulated kernel returns it: a value, or minus the errno. */
export function resultOf(operation: Operation, value = 'ret', errno = 'errno'): number {
  return numberOf(operation, value) < 0 ? -numberOf(operation, errno) : numberOf(operation, value);
}

/** Compares outcomes and keeps count; a few differences are enough to see what is wrong. */
export class Comparison {
  compared = 0;
  /** Operations that the recording alone does not allow to repeat, by kind. */
  readonly leftOut = new Map<string, number>();
  readonly mismatches: string[] = [];
  /** Where the replay is, for the report. */
  place = '';

  check(what: string, got: unknown, recorded: unknown): void {
    this.compared++;
    if (got !== recorded && this.mismatches.length < 20) {
      this.mismatches.push(`${this.place}: ${what} is ${String(got)}, recorded ${String(recorded)}`);
    }
  }

  leaveOut(kind: string): void {
    this.leftOut.set(kind, (this.leftOut.get(kind) ?? 0) + 1);
  }

  summary(name: string): string {
    const left = [...this.leftOut].map(([kind, count]) => `${count} ${kind}`).join(', ');
    const tail = left === '' ? '' : `; not comparable: ${left}`;
    return `${name}: ${this.compared} outcomes compared, ${this.mismatches.length} mismatches${tail}`;
  }
}
