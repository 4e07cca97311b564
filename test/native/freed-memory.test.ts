import { readFileSync, writeSync } from 'node:fs';
import { constants as os } from 'node:os';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { addonIfBuilt, adoptFile, openFifo, scratchFolder, transferAway } from './support.js';

const { EFAULT } = os.errno;

/** An ArrayBuffer of ES2024, which this TypeScript does not know. */
function resizable(length: number): ArrayBuffer & { resize(length: number): void } {
  return Reflect.construct(ArrayBuffer, [length, { maxByteLength: length }]) as ArrayBuffer & {
    resize(length: number): void;
  };
}

const built = addonIfBuilt();

describe.skipIf(built === undefined)('the addon', () => {
  const addon = built!;
  const folder = scratchFolder();

  describe('memory that JavaScript frees during a call', () => {
    /** Ways to lose an array's memory; the array is of `length` bytes before. */
    const losses: [string, (length: number) => [buffer: Uint8Array, lose: () => void]][] = [
      [
        'is transferred',
        (length) => {
          const buffer = new Uint8Array(length);
          return [buffer, () => transferAway(buffer)];
        },
      ],
      [
        'is shrunk',
        (length) => {
          const memory = resizable(length);
          return [
            new Uint8Array(memory),
            () => {
              memory.resize(0);
            },
          ];
        },
      ],
      [
        'is shrunk, and says it cannot be',
        (length) => {
          const memory = resizable(length);
          Object.defineProperty(memory, 'resizable', { value: false });
          return [
            new Uint8Array(memory),
            () => {
              memory.resize(0);
            },
          ];
        },
      ],
    ];

    test.each(losses)('and %s takes what a read brought with it', async (_how, make) => {
      using fifo = await openFifo(addon, folder);
      const [buffer, lose] = make(64);
      const read = addon.read(fifo.descriptor, buffer);
      lose();
      writeSync(fifo.fd, Uint8Array.of(1, 2, 3));
      await expect(read).rejects.toMatchObject({ errno: EFAULT, syscall: 'read' });
      await fifo.descriptor.close();
    });

    test.each(losses)('and %s is not what is written', async (_how, make) => {
      const file = path.join(folder, 'copied');
      for (const name of ['write', 'writeRecords'] as const) {
        const descriptor = await adoptFile(addon, file, 'w');
        const [bytes, lose] = make(1 << 20);
        bytes[0] = 7;
        const written = addon[name](descriptor, bytes);
        lose();
        await written;
        expect(readFileSync(file)).toHaveLength(1 << 20);
        expect(readFileSync(file)[0]).toBe(7);
        await descriptor.close();
      }
    });

    test('a property of its own that throws is not asked', async () => {
      const memory = new ArrayBuffer(8);
      Object.defineProperty(memory, 'resizable', {
        get() {
          throw new Error('asked');
        },
      });
      const descriptor = await adoptFile(addon, '/dev/null', 'w');
      expect(await addon.write(descriptor, new Uint8Array(memory))).toBe(8);
      await descriptor.close();
    });
  });
});
