import { describe, expect, test } from 'vitest';
import { HptReader } from '../../lib/io/reader.js';
import { headers } from './wire-records.js';
import { settle } from './gate.js';
import { readPass, type Header } from './pass-headers.js';
import { tenEntries } from './ten-entries.js';

describe('read-ahead of HptReader', () => {
  test('reads while the caller has a chunk, and never past the end of the pass', async () => {
    const vm = tenEntries();
    await using reader = await HptReader.open(vm, { bufferBytes: 89, startIndex: 100 });
    const handle = vm.handles[0]!;
    const pass = reader.pass();
    await pass.next();
    await settle();
    expect(handle.reads).toBe(2);
    await pass.next();
    await settle();
    expect(handle.reads).toBe(2);
    expect((await pass.next()).done).toBe(true);
  });

  test('uses three buffers in turn, however many reads there are', async () => {
    const vm = tenEntries();
    await using reader = await HptReader.open(vm, { bufferBytes: 25, startIndex: 100 });
    for (let pass = 0; pass < 20; pass++) {
      for await (const _ of reader.pass());
      for (let ptex = 100; ptex < 110; ptex++) vm.set(ptex);
    }
    expect(vm.handles[0]!.reads).toBeGreaterThan(100);
    expect(vm.handles[0]!.buffers.size).toBe(3);
  });

  test('keeps a chunk’s bytes until the next is asked for, although the next read runs', async () => {
    const vm = tenEntries();
    await using reader = await HptReader.open(vm, { bufferBytes: 25, startIndex: 100 });
    const pass = reader.pass();
    for (let ptex = 100; ptex < 110; ptex++) {
      const chunk = (await pass.next()).value!;
      await settle();
      expect(headers(chunk)).toEqual([[ptex, 1, ptex === 109 ? 16274 : 0]]);
    }
  });

  test('gives every chunk away with recycle: false', async () => {
    const vm = tenEntries();
    await using reader = await HptReader.open(vm, { bufferBytes: 41, startIndex: 100, recycle: false });
    const chunks: Uint8Array[] = [];
    for await (const chunk of reader.pass()) chunks.push(chunk);
    expect(chunks.map((chunk) => headers(chunk))).toEqual([
      [[100, 2, 0]],
      [[102, 2, 0]],
      [[104, 2, 0]],
      [[106, 2, 0]],
      [[108, 2, 16274]],
    ]);
    expect(new Set(chunks.map((chunk) => chunk.buffer)).size).toBe(5);
  });

  test('copies a small chunk with recycle: false, and keeps no whole buffer alive', async () => {
    await using reader = await HptReader.open(tenEntries(), { startIndex: 100, recycle: false });
    for await (const chunk of reader.pass()) expect(chunk.buffer.byteLength).toBe(168);
  });

  test('replaces a buffer that the caller has transferred away', async () => {
    const vm = tenEntries();
    await using reader = await HptReader.open(vm, { bufferBytes: 25, startIndex: 100 });
    const seen: Header[][] = [];
    for await (const chunk of reader.pass()) {
      seen.push(headers(chunk));
      structuredClone(chunk, { transfer: [chunk.buffer as ArrayBuffer] });
    }
    expect(seen).toHaveLength(10);
  });

  test('goes on with a pass left early at the next call, with the records read ahead', async () => {
    const vm = tenEntries();
    await using reader = await HptReader.open(vm, { bufferBytes: 41, startIndex: 100 });
    for await (const chunk of reader.pass()) {
      expect(headers(chunk)).toEqual([[100, 2, 0]]);
      break;
    }
    expect(reader.passes).toBe(0);
    const rest = (await readPass(reader)).flat();
    expect(rest).toEqual([
      [102, 2, 0],
      [104, 2, 0],
      [106, 2, 0],
      [108, 2, 16274],
    ]);
    expect(reader.passes).toBe(1);
  });

  test('counts a pass left at its last chunk as complete', async () => {
    const vm = tenEntries();
    await using reader = await HptReader.open(vm);
    for await (const _ of reader.pass()) break;
    expect(reader.passes).toBe(1);
    expect(await readPass(reader)).toEqual([]);
    expect(reader.quiescent).toBe(true);
  });
});
