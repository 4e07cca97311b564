import { quotedText } from '../../base/foreign-text.js';
import { fieldsOf, textOf } from '../fields.js';

/** Longest line of a monitor, in bytes: the schema of QEMU 10.0, its longest answer, has about 300,000. */
export const MAX_LINE_BYTES = 1 << 22;

const NEWLINE = 0x0a;

/** What a monitor says of its own accord. */
export interface QmpEvent {
  /** As `STOP`. */
  readonly name: string;
  readonly data: Readonly<Record<string, unknown>>;
  /** When it happened, by QEMU's clock, in ms since 1970. */
  readonly timeMs: number;
}

/** A line of a monitor. */
export type QmpMessage =
  | { readonly kind: 'greeting'; readonly version: string }
  | { readonly kind: 'event'; readonly event: QmpEvent }
  | { readonly kind: 'answer'; readonly id: unknown; readonly value: unknown }
  | { readonly kind: 'error'; readonly id: unknown; readonly errorClass: string; readonly text: string };

/** Puts the chunks of a connection together to lines. */
export class Lines {
  #parts: Buffer[] = [];
  #bytes = 0;

  /**
   * Takes the next chunk.
   *
   * @throws Error for a line that is too long
   */
  *push(chunk: Buffer): Generator<string> {
    let rest = chunk;
    for (let end = rest.indexOf(NEWLINE); end >= 0; end = rest.indexOf(NEWLINE)) {
      this.#keep(rest.subarray(0, end));
      rest = rest.subarray(end + 1);
      const line = Buffer.concat(this.#parts).toString();
      this.#parts = [];
      this.#bytes = 0;
      if (line.trim() !== '') yield line;
    }
    this.#keep(rest);
  }

  #keep(part: Buffer): void {
    this.#bytes += part.length;
    if (this.#bytes > MAX_LINE_BYTES) throw new Error(`it sent a line of more than ${MAX_LINE_BYTES} bytes`);
    if (part.length > 0) this.#parts.push(part);
  }
}

/** @throws Error for what is no message of QMP */
export function parseMessage(line: string): QmpMessage {
  const fields = fieldsOf(parseJson(line));
  if (fields['QMP'] !== undefined) return { kind: 'greeting', version: versionOf(fields['QMP']) };
  const { id, event } = fields;
  if (typeof event === 'string') return { kind: 'event', event: eventOf(event, fields) };
  if (fields['error'] !== undefined) {
    const { class: errorClass, desc } = fieldsOf(fields['error']);
    return { kind: 'error', id, errorClass: textOf(errorClass), text: textOf(desc) };
  }
  if ('return' in fields) return { kind: 'answer', id, value: fields['return'] };
  throw notQmp(line);
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    throw notQmp(line);
  }
}

function notQmp(line: string): Error {
  return new Error(`it does not speak QMP: it sent ${quotedText(line.slice(0, 100))}`);
}

function eventOf(name: string, fields: Readonly<Record<string, unknown>>): QmpEvent {
  const { seconds, microseconds } = fieldsOf(fields['timestamp']);
  const timeMs = Number(seconds) * 1000 + Number(microseconds) / 1000;
  return { name, data: fieldsOf(fields['data']), timeMs };
}

function versionOf(greeting: unknown): string {
  const { major, minor, micro } = fieldsOf(fieldsOf(fieldsOf(greeting)['version'])['qemu']);
  return [major, minor, micro].map((part) => (typeof part === 'number' ? part : '?')).join('.');
}
