import { foreignText } from '../../base/foreign-text.js';
import { fieldsOf } from '../fields.js';
import type { Configuration } from './configuration.js';
import type { Findings } from './findings.js';
import { MARK, type QemuSection } from './layout.js';
import type { Steps, StreamCursor } from './stream-cursor.js';

/** A description has about 100 KiB. */
const MAX_BYTES = 1 << 24;
/** Deepest nesting of structures that is looked into; QEMU's have fewer than 10 levels. */
const MAX_DEPTH = 64;

/** A device as the description at the end of a stream has it. */
interface Device {
  readonly name: string;
  readonly instance: number;
  /** Bytes of its payload; undefined where the description does not tell. */
  readonly bytes: number | undefined;
}

/** What a description tells of a stream. */
interface Description {
  readonly pageBytes: number | undefined;
  readonly devices: readonly Device[];
}

/** What a description is compared with. */
interface DescribedStream {
  readonly configuration: Readonly<Configuration>;
  readonly sections: readonly QemuSection[];
  readonly findings: Findings;
}

/** Reads the description of the devices, where there is one, after the mark that ends the sections. */
export function* readDescription(cursor: StreamCursor, stream: DescribedStream): Steps {
  const { window } = cursor;
  const { findings } = stream;
  cursor.section = 'description';
  const byteOffset = cursor.offset;
  if (!(yield* cursor.look(1)) || window.uint8() !== MARK.description) {
    findings.add('no-description', 'the stream does not describe its devices', { byteOffset });
    return;
  }
  yield* cursor.need(5);
  const length = window.uint32(1);
  if (length > MAX_BYTES) {
    throw cursor.refusal(`the description has ${length} bytes, more than ${MAX_BYTES}`);
  }
  yield* cursor.need(5 + length);
  const description = parseDescription(window.bytes.subarray(window.at + 5, window.at + 5 + length));
  window.advance(5 + length);
  if (description === undefined) {
    const message = 'the description of the devices is not the JSON that it should be';
    findings.add('no-description', message, { byteOffset });
    return;
  }
  const difference = differenceFrom(description, stream);
  if (difference === undefined) return;
  findings.add('undescribed', foreignText(difference.message), {
    byteOffset: difference.byteOffset ?? byteOffset,
  });
}

/** Reads the description of a stream's devices; undefined if it is not one. */
function parseDescription(json: Buffer): Description | undefined {
  let value: unknown;
  try {
    value = JSON.parse(json.toString('utf8'));
  } catch {
    return undefined;
  }
  const { page_size: pageBytes, devices } = fieldsOf(value);
  if (!Array.isArray(devices)) return undefined;
  const all = devices.map(deviceOf);
  if (!all.every((device) => device !== undefined)) return undefined;
  return { pageBytes: typeof pageBytes === 'number' ? pageBytes : undefined, devices: all };
}

function deviceOf(value: unknown): Device | undefined {
  const { name, instance_id: instance } = fieldsOf(value);
  if (typeof name !== 'string' || typeof instance !== 'number') return undefined;
  return { name, instance, bytes: payloadBytes(value, 0) };
}

/** Where the devices of a stream differ from its description: a sentence; undefined if they do not. */
function differenceFrom(
  { devices, pageBytes }: Description,
  { configuration, sections }: DescribedStream,
): { readonly message: string; readonly byteOffset?: number } | undefined {
  if (pageBytes !== undefined && pageBytes !== configuration.pageBytes) {
    return {
      message: `pages have ${pageBytes} bytes in the description, and ${configuration.pageBytes} in the stream`,
    };
  }
  const sent = sections.filter(({ iterable }) => !iterable);
  for (const [number, section] of sent.entries()) {
    const { name, instance, bytes, byteOffset } = section;
    const device = devices[number];
    if (device === undefined) {
      return {
        message: `the description names ${devices.length} devices, and there are ${sent.length}`,
        byteOffset,
      };
    }
    if (device.name !== name || device.instance !== instance) {
      const message = `device ${number} is ${name} ${instance}, and ${device.name} ${device.instance} in the description`;
      return { message, byteOffset };
    }
    if (device.bytes !== undefined && device.bytes !== bytes) {
      const message = `device ${name} ${instance} has ${bytes} bytes, and ${device.bytes} in the description`;
      return { message, byteOffset };
    }
  }
  if (devices.length === sent.length) return undefined;
  return { message: `the description names ${devices.length} devices, and there are ${sent.length}` };
}

/** Bytes of a device, or of a part of one, in the stream: of its fields, and of its subsections with their headers. */
function payloadBytes(part: unknown, depth: number): number | undefined {
  const { fields, subsections = [] } = fieldsOf(part);
  if (!Array.isArray(fields) || !Array.isArray(subsections) || depth > MAX_DEPTH) return undefined;
  let bytes = 0;
  for (const field of fields as unknown[]) {
    const { size, array_len: count = 1 } = fieldsOf(field);
    if (typeof size !== 'number' || typeof count !== 'number') return undefined;
    bytes += size * count;
  }
  for (const subsection of subsections as unknown[]) {
    const inner = payloadBytes(subsection, depth + 1);
    const { vmsd_name: name } = fieldsOf(subsection);
    if (inner === undefined || typeof name !== 'string') return undefined;
    // Mark, length of the name, name, version.
    bytes += 2 + name.length + 4 + inner;
  }
  return bytes;
}
