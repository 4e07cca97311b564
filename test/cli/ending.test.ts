import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { Writable } from 'node:stream';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { Ending } from '../../lib/cli/ending.js';
import { INTERRUPTIONS, STOPS, interruptible, unstoppable } from '../../lib/cli/interrupt.js';
import { tooOld } from '../../lib/cli/node-version.js';
import { scratchFiles } from '../scratch.js';
import { captureOutput } from './capture.js';
import { MAIN, notCompiled, startReceive, startSend } from './processes.js';

const temporary = scratchFiles();

/** An output whose reader takes nothing until it is released. */
class Held extends Writable {
  take: (error?: Error) => void = () => undefined;

  override _write(_chunk: unknown, _encoding: string, callback: (error?: Error) => void): void {
    this.take = callback;
  }
}

describe('the output of a command that is done', () => {
  beforeEach(() => vi.useFakeTimers());
  afterEach(() => vi.useRealTimers());

  function draining(): { stdout: Held; ending: Ending; drained: () => boolean } {
    const stdout = new Held({ autoDestroy: false }).on('error', () => undefined);
    stdout.write('done');
    const ending = new Ending({ stdout, stderr: captureOutput().stderr });
    let over = false;
    void ending.drain().then(() => (over = true));
    return { stdout, ending, drained: () => over };
  }

  test('is waited for as long as its reader takes', async () => {
    const { stdout, drained } = draining();
    await vi.advanceTimersByTimeAsync(3_600_000);
    expect(drained()).toBe(false);
    stdout.take();
    // The empty write after it is taken too.
    await vi.advanceTimersByTimeAsync(0);
    stdout.take();
    await vi.advanceTimersByTimeAsync(0);
    expect(drained()).toBe(true);
  });

  test('is waited for a second more once a signal has come', async () => {
    const { ending, drained } = draining();
    ending.hurry();
    await vi.advanceTimersByTimeAsync(999);
    expect(drained()).toBe(false);
    await vi.advanceTimersByTimeAsync(1);
    expect(drained()).toBe(true);
  });

  test('is not waited for once it has failed', async () => {
    const { stdout, ending, drained } = draining();
    stdout.take(new Error('the disk is full'));
    await vi.advanceTimersByTimeAsync(0);
    expect(drained()).toBe(true);
    await ending.drain();
  });
});

test.each(INTERRUPTIONS)('%s finds a handler in every moment from the job on', async (signal) => {
  const late = vi.fn();
  const before = process.listenerCount(signal);
  const fewest: number[] = [];
  const count = (): number => fewest.push(process.listenerCount(signal) - before);
  process.on('removeListener', count);
  onTestFinished(() => {
    process.off('removeListener', count);
    process.off(signal, late);
  });
  await interruptible((abort) => {
    process.emit(signal);
    expect(abort.aborted).toBe(true);
    return Promise.resolve();
  }, late);
  expect(Math.min(...fewest)).toBeGreaterThan(0);
  expect(late).not.toHaveBeenCalled();
  process.emit(signal);
  expect(late).toHaveBeenCalledOnce();
  for (const each of INTERRUPTIONS) process.off(each, late);
});

test('a terminal does not stop a job that stops a guest', async () => {
  const counts = (): number[] => STOPS.map((signal) => process.listenerCount(signal));
  const before = counts();
  const during = await unstoppable(() => Promise.resolve(counts()));
  expect(during).toEqual(before.map((count) => count + 1));
  expect(counts()).toEqual(before);
});

test('a job leaves no handler where nothing is to be called later', async () => {
  const counts = (): number[] => INTERRUPTIONS.map((signal) => process.listenerCount(signal));
  const before = counts();
  await interruptible(() => Promise.resolve());
  expect(counts()).toEqual(before);
});

test.each([
  ['18.20.8', false],
  ['20.18.3', false],
  ['20.19.0', true],
  ['22.1.0', true],
  ['24.0.0', true],
])('Node.js %s: new enough is %s', (version, enough) => {
  expect(tooOld(version) === undefined).toBe(enough);
});

test('the oldest Node.js is the one that package.json names', () => {
  const { engines } = JSON.parse(readFileSync('package.json', 'utf8')) as { engines: { node: string } };
  const version = engines.node.replace('>=', '');
  expect(tooOld(`${version}.0`)).toBeUndefined();
  expect(tooOld('1.0.0')).toContain(`${version} or later is needed`);
});

describe.skipIf(notCompiled !== undefined)('the command', () => {
  const failureOf = async (file: string, args: readonly string[]): Promise<unknown> =>
    promisify(execFile)(file, args).catch((error: unknown) => error);

  test('says that Node.js is too old before it loads anything that an old one does not know', async () => {
    const preload = temporary('old.mjs');
    writeFileSync(
      preload,
      "Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '18.20.8' } });",
    );
    expect(await failureOf(process.execPath, ['--import', preload, MAIN, 'probe'])).toMatchObject({
      code: 3,
      stdout: '',
      stderr: 'kvm-htab: Node.js 18.20.8 is too old: 20.19 or later is needed\n',
    });
    // A static import is loaded first, in every version.
    expect(readFileSync(MAIN, 'utf8')).not.toMatch(/^import\b/m);
  });

  test('says that its output could not be written, and what is wrong ends it with its own code', async () => {
    const full = (args: string): Promise<unknown> =>
      failureOf('/bin/sh', ['-c', `'${process.execPath}' ${MAIN} ${args} > /dev/full`]);
    const stderr = 'kvm-htab: standard output could not be written to\n';
    expect(await full('--help')).toMatchObject({ code: 1, stderr });
    expect(await full('probe --device /nowhere')).toMatchObject({ code: 3, stderr });
  });

  test('a receiver that is done ends, though a peer that says nothing stays connected', async () => {
    const { receiver, address } = await startReceive(
      ...(['tcp://127.0.0.1:0', '--emulated', '--timeout-ms', '2147483647'] as const),
    );
    const idle = connect({ port: Number(new URL(address).port), host: '127.0.0.1' });
    onTestFinished(() => void idle.destroy());
    await once(idle, 'connect');
    const sent = await startSend(address, '--emulated=order=18,steps=500').ended;
    expect([sent.code, (await receiver.ended).code]).toEqual([0, 0]);
  });
});
