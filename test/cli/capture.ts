import { Writable } from 'node:stream';
import type { Output } from '../../lib/cli/output.js';

/** Keeps what a command writes. */
class Capture extends Writable {
  readonly isTTY: boolean;
  /** A terminal's width, and what cli-progress asks of one. */
  readonly columns = 120;
  text = '';

  constructor(isTTY: boolean) {
    super({ decodeStrings: false });
    this.isTTY = isTTY;
  }

  override _write(chunk: string | Buffer, _encoding: string, callback: () => void): void {
    this.text += chunk.toString();
    callback();
  }
}

export interface CapturedOutput extends Output {
  readonly stdout: Capture;
  readonly stderr: Capture;
}

/** Somewhere for a command to write; `terminal`: stderr is one. */
export function captureOutput({ terminal = false } = {}): CapturedOutput {
  return { stdout: new Capture(false), stderr: new Capture(terminal) };
}
