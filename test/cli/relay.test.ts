import { existsSync } from 'node:fs';
import { expect, test } from 'vitest';
import { run } from '../../lib/cli/program.js';
import { FakeSource, fakeTarget, shut, withReturnPath } from '../qemu/relay/fake-qemus.js';
import { htabOf, record, streamOf } from '../qemu/stream-writer.js';
import { fixture } from '../qemu/support.js';
import { scratchFiles } from '../scratch.js';
import { captureOutput, type CapturedOutput } from './capture.js';

const scratch = scratchFiles();

/** Runs the command with a stream, and a destination that says that it has the guest once all has come. */
const relayed = (stream: Buffer, ...options: string[]): ReturnType<typeof answered> =>
  answered(stream, shut(0), ...options);

/** @param answer the destination's last word, once all has come */
async function answered(
  stream: Buffer,
  answer: Buffer,
  ...options: string[]
): Promise<CapturedOutput & { readonly code: number; readonly passedBytes: number }> {
  const at = scratch('a');
  const target = await fakeTarget(scratch('b'), (received, socket) => {
    if (received.length === stream.length) socket.end(answer);
  });
  const output = captureOutput();
  const running = run(['relay', `unix:${at}`, target.address, ...options], output);
  while (!existsSync(at)) await new Promise((resolve) => setImmediate(resolve));
  const source = new FakeSource(`unix:${at}`);
  await source.send(stream);
  const code = await running;
  await source.closed;
  await target.closed;
  return { ...output, code, passedBytes: target.received().length };
}

const eventsOf = ({ stdout }: CapturedOutput): Record<string, unknown>[] =>
  stdout.text.trimEnd().split('\n').map((line) => JSON.parse(line) as Record<string, unknown>); // prettier-ignore

test('kvm-htab relay tells what has gone on, and exits with 0 when the destination has the guest', async () => {
  const { code, stdout, stderr } = await relayed(withReturnPath(fixture('qemu-10.0.2-p9hash-1g')));
  expect(code).toBe(0);
  expect(stdout.text).toMatch(
    /^Passed on: order 23, 17,240 valid entries; the destination has the guest\.$/m,
  );
  expect(stdout.text).toMatch(/^table {4}28,163 records of 588 kB in \d+ parts$/m);
  expect(stdout.text).toMatch(/^stop .* of which the table .* %\) and \d+ B$/m);
  expect(stdout.text).toMatch(/^digest: [0-9a-f]{64}$/m);
  expect(stderr.text).toMatch(/listening at[^]*the table is right[^]*all has gone on/);
});

test('kvm-htab relay --json prints events, the last with all numbers', async () => {
  const output = await relayed(withReturnPath(fixture('qemu-7.2.22-tcg-1g')), '--json', '--metrics', '0');
  const events = eventsOf(output);
  expect([output.code, output.stderr.text]).toEqual([0, '']);
  const names = events.map(({ event, state }) => (event === 'state' ? state : event));
  expect(names.filter((each) => each !== 'progress')).toEqual(
    ['metrics', 'listening', 'copying', 'judged', 'handed-over', 'done', 'digest'], // prettier-ignore
  );
  expect(names).toContain('progress');
  expect(events.find(({ event }) => event === 'done')).toMatchObject({
    ...{ order: 23, validEntries: 17_026, acknowledged: true, findings: [], returnBytes: 8 },
    stop: { tableBytes: expect.any(Number) as number },
  });
});

test('kvm-htab relay --metrics serves what has gone on, the state, and the stop', async () => {
  const at = scratch('a');
  const stream = withReturnPath(streamOf(htabOf(record(0, 3))));
  const target = await fakeTarget(scratch('b'));
  const output = captureOutput();
  const running = run(['relay', `unix:${at}`, target.address, '--json', '--metrics', '0'], output);
  while (!existsSync(at)) await new Promise((resolve) => setImmediate(resolve));
  const { url } = eventsOf(output).find(({ event }) => event === 'metrics') as { url: string };
  const metric = async (name: string): Promise<number> => {
    const text = await (await fetch(url)).text();
    const line = text.split('\n').find((each) => each.startsWith(`kvm_htab_relay_${name} `));
    return Number(line?.split(' ').at(-1));
  };
  expect(await metric('bytes_total')).toBe(0);
  const source = new FakeSource(`unix:${at}`);
  await source.send(stream.subarray(0, 100));
  while (target.received().length < 100) await new Promise((resolve) => setImmediate(resolve));
  // What the relay waits for the rest of does not count yet.
  expect(await metric('bytes_total')).toBeGreaterThan(80);
  expect(await metric('state{state="copying"}')).toBe(1);
  await source.send(stream.subarray(100));
  while (target.received().length < stream.length) await new Promise((resolve) => setImmediate(resolve));
  expect([await metric('bytes_total'), await metric('valid_entries')]).toEqual([stream.length, 3]);
  expect([await metric('state{state="copying"}'), await metric('state{state="handed-over"}')]).toEqual([
    0, 1,
  ]);
  expect(await metric('stop_seconds{part="table"}')).toBeGreaterThanOrEqual(0);
  target.sockets[0]!.end(shut(0));
  expect(await running).toBe(0);
  await source.closed;
});

test('kvm-htab relay exits with 4 for a destination without a word, and with 1 for one that has no guest', async () => {
  const stream = withReturnPath(streamOf(htabOf(record(0, 1))));
  const silent = await answered(stream, Buffer.alloc(0));
  expect(silent.code).toBe(4);
  expect(silent.stderr.text).toMatch(/^all had gone to the destination: ask both QEMUs/m);
  const failed = await answered(stream, shut(1));
  expect(failed.code).toBe(1);
  expect(failed.stderr.text).toMatch(/^the destination did not take the guest: it goes on at the source$/m);
});

test('kvm-htab relay refuses a bad table, says where the guest is, and exits with 1', async () => {
  const bad = streamOf(htabOf(record(0xffff_fff8, 0, 16)));
  const text = await relayed(bad);
  expect([text.code, text.stdout.text]).toEqual([1, '']);
  expect(text.passedBytes).toBeLessThan(bad.length);
  const [where, error] = text.stderr.text.trimEnd().split('\n').slice(-2);
  expect(where).toMatch(/goes on at the source/);
  expect(error).toMatch(/^kvm-htab: .* crashes \(section spapr\/htab at byte \d+, ptex 4294967288\)$/);
  const json = await relayed(withReturnPath(streamOf(htabOf(record(0, 1)))), '--json', '--min-entries', '2');
  expect([json.code, eventsOf(json).at(-1)]).toEqual([
    1,
    expect.objectContaining({
      event: 'failed',
      code: 'ERR_HTAB_MIGRATION',
      option: '--min-entries',
      exitCode: 1,
    }),
  ]);
});

test('kvm-htab relay counts connections that it refuses, and prints where they come from', async () => {
  const target = await fakeTarget(scratch('b'), (received, socket) => {
    if (received.length === stream.length) socket.end(shut(0));
  });
  const stream = withReturnPath(streamOf(htabOf(record(0, 1))));
  const output = captureOutput();
  const running = run(['relay', 'tcp://127.0.0.1:0', target.address, '--json'], output);
  while (!output.stdout.text.includes('\n')) await new Promise((resolve) => setImmediate(resolve));
  const address = String(eventsOf(output)[0]!['address']);
  for (let scans = 0; scans < 3; scans++) {
    const scan = new FakeSource(address);
    await scan.send(Buffer.from('GET / HTTP/1.1'));
    await scan.closed;
  }
  await new FakeSource(address).send(stream);
  expect(await running).toBe(0);
  const refused = eventsOf(output).filter(({ event }) => event === 'refused');
  expect(new Set(refused.map(({ from }) => from))).toEqual(new Set(['127.0.0.1']));
  expect(refused.reduce((sum, { count }) => sum + Number(count), 0)).toBe(3);
});
