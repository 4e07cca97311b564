import { existsSync } from 'node:fs';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { run } from '../../lib/cli/program.js';
import { digestTable } from '../../lib/hpt/digest.js';
import { MAX_STATE_BYTES } from '../../lib/migration/rest.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import { GuestWorkload } from '../../lib/vm/emulated/guest-workload.js';
import { scratchFiles } from '../scratch.js';
import { startVmm, type VmmRequest } from '../test-vmm.js';
import { captureOutput } from './capture.js';
import { giveTables } from './vmm-tables.js';
import { type Answers, vmmWith, hangs } from './answering-vmm.js';

// There is no HTAB descriptor on this machine: emulated VMs stand where the VMM's would.
vi.mock('../../lib/vm/kvm/handover.js');

const scratch = scratchFiles();
let source: EmulatedVm;
let target: EmulatedVm;

beforeEach(async () => {
  source = new EmulatedVm();
  target = new EmulatedVm();
  await source.allocateHpt(18);
  await target.allocateHpt(18);
  new GuestWorkload(source, { seed: 1, pages: 8000 }).step(500);
  giveTables(source, target);
});

const STATE = 'the registers';
const SOURCE: Answers = { 'rest-ms': 'ok 0\n', finish: `ok ${STATE.length}\n${STATE}` };
const DESTINATION: Answers = { 'can-accept': 'ok\n' };

interface MoveOptions {
  /** Of send. */
  readonly args?: readonly string[];
  readonly json?: boolean;
  readonly meanwhile?: (sending: Promise<number>) => Promise<void>;
}

interface Moved {
  /** Exit codes: of send, of receive. */
  readonly codes: readonly number[];
  readonly sent: string;
  readonly received: string;
  /** Requests of both sides. */
  readonly asked: { readonly source: readonly string[]; readonly destination: readonly string[] };
}

/** Moves the guest between two VMMs with both commands; `meanwhile` is called once both have begun. */
async function move(
  sourceAnswers: Answers,
  destinationAnswers: Answers,
  { args = [], json = true, meanwhile }: MoveOptions = {},
): Promise<Moved> {
  const from = await vmmWith(scratch('vmm'), sourceAnswers);
  const to = await vmmWith(scratch('vmm'), destinationAnswers);
  const at = scratch('socket');
  const [sender, receiver] = [captureOutput(), captureOutput()];
  const both = ['--reconnect-ms', '0', ...(json ? ['--json'] : [])];
  const receiving = run(['receive', `unix:${at}`, '--htab-socket', to.at, ...both], receiver);
  while (!existsSync(at)) await new Promise((resolve) => setImmediate(resolve));
  const sending = run(['send', `unix:${at}`, '--htab-socket', from.at, ...both, ...args], sender);
  await meanwhile?.(sending);
  const codes = await Promise.all([sending, receiving]);
  const said = ({ stdout, stderr }: typeof sender): string => stdout.text + stderr.text;
  return {
    codes,
    sent: said(sender),
    received: said(receiver),
    asked: { source: from.lines, destination: to.lines },
  };
}

function eventOf(text: string, name: string): unknown {
  const lines = text.split('\n').filter((line) => line.startsWith('{'));
  return lines.map((line) => JSON.parse(line) as { event: string }).find(({ event }) => event === name);
}

describe('the rest of a guest', () => {
  test('moves where both VMMs move it, and the commands say so', async () => {
    let accepted = '';
    const accept = ({ body }: VmmRequest): Promise<string> => {
      accepted = body.toString();
      return Promise.resolve('ok\n');
    };
    const { codes, sent, received, asked } = await move(SOURCE, { ...DESTINATION, accept });
    expect(codes).toEqual([0, 0]);
    expect(accepted).toBe(STATE);
    expect(asked.source.filter((line) => line !== 'rest-ms')).toEqual(['pause', 'finish']);
    expect(asked.destination).toEqual(['can-accept', `accept ${STATE.length}`, 'run']);
    expect(digestTable(target.table!)).toBe(digestTable(source.table!));
    expect(eventOf(sent, 'rest')).toMatchObject({ moves: true });
    expect(eventOf(received, 'rest')).toMatchObject({ moves: true });
    const ms = expect.any(Number) as unknown;
    expect(eventOf(sent, 'done')).toMatchObject({ rest: { stateBytes: STATE.length, finishMs: ms } });
    expect(eventOf(received, 'done')).toMatchObject({ rest: { acceptMs: ms, runMs: ms } });
  });

  test('stays behind where neither VMM moves it, and the commands say so', async () => {
    const { codes, sent, received, asked } = await move({}, {}, { json: false });
    expect(codes).toEqual([0, 0]);
    expect(asked.source).toEqual(['rest-ms', 'pause']);
    expect(asked.destination).toEqual(['can-accept']);
    expect(sent).toContain('memory and devices: not moved by the VMM, which refuses rest-ms\n');
    expect(received).toContain('memory and devices: not taken by the VMM, which refuses can-accept\n');
  });

  test.each([0, MAX_STATE_BYTES])('brings %i bytes of state', async (length) => {
    const finish = Buffer.concat([Buffer.from(`ok ${length}\n`), Buffer.alloc(length, 1)]);
    const { codes, asked } = await move({ ...SOURCE, finish }, DESTINATION);
    expect(codes).toEqual([0, 0]);
    expect(asked.destination).toContain(`accept ${length}`);
  });
});

describe('a guest stays', () => {
  test.each<[string, Answers, readonly string[], string]>([
    ['refuses finish', { finish: 'error no room\n' }, [], 'refuses to finish: "error no room"'],
    ['hangs in finish', { finish: hangs }, ['--stop-limit-ms', '1500'], 'stop limit of 1500 ms'],
    ['hangs up in finish', { finish: undefined }, [], 'did not finish'],
    [
      'brings a byte too many',
      { finish: `ok ${MAX_STATE_BYTES + 1}\n` },
      [],
      'at most 16777216 are accepted',
    ],
    ['never comes near', { 'rest-ms': 'ok 9000\n' }, ['--max-passes', '2', '--downtime-ms', '9000', '--if-not-converging', 'give-up'], 'too fast'], // prettier-ignore
  ])('where the VMM %s', async (_, answers, args, message) => {
    const { codes, sent, asked } = await move({ ...SOURCE, ...answers }, DESTINATION, { args });
    expect(sent).toContain(message);
    expect(codes).toEqual([1, 1]);
    if (asked.source.includes('pause')) expect(asked.source.at(-1)).toBe('resume');
    expect(asked.destination).toEqual(['can-accept', 'discard']);
  });

  test.each<[string, Answers, readonly string[], string]>([
    ['refuses accept', { accept: 'error no room\n' }, [], 'refuses to accept: "error no room"'],
    ['hangs in accept', { accept: hangs }, ['--stop-limit-ms', '1500'], 'stop limit of 1500 ms'],
    ['hangs up in accept', { accept: undefined }, [], 'did not accept'],
  ])('where the other VMM %s', async (_, answers, args, message) => {
    const { codes, sent, received, asked } = await move(SOURCE, { ...DESTINATION, ...answers }, { args });
    expect(sent + received).toContain(message);
    expect(codes).toEqual([1, 1]);
    expect(asked.source.at(-1)).toBe('resume');
    expect(asked.destination).toEqual(['can-accept', `accept ${STATE.length}`, 'discard']);
  });

  test('and the commands say so where what has come cannot be thrown away', async () => {
    const bad = { accept: 'error no room\n', discard: 'error gone\n' };
    const { codes, received } = await move(SOURCE, { ...DESTINATION, ...bad });
    expect(codes).toEqual([1, 1]);
    expect(received).toContain('could not be discarded; do not run the target');
    expect(received).toContain('refuses to discard: \\"error gone\\"');
  });
});

test('a guest that has come and does not run ends receive with an exit code of its own', async () => {
  const { codes, received, asked } = await move(SOURCE, { ...DESTINATION, run: 'error no vcpu\n' });
  expect(codes).toEqual([0, 5]);
  expect(received).toContain('the guest has moved here and is not known to run');
  expect(received).toContain('refuses to run: \\"error no vcpu\\"');
  expect(eventOf(received, 'failed')).toMatchObject({ exitCode: 5, code: 'ERR_HTAB_GUEST_STOPPED' });
  expect(asked.destination.at(-1)).toBe('run');
});

/** Ends the commands of this process as Ctrl-C does. */
function interrupt(): void {
  process.emit('SIGINT', 'SIGINT');
}

test.each<[string, Answers, Answers, string]>([
  ['the source', SOURCE, {}, 'the source moves memory and devices too'],
  ['the destination', {}, DESTINATION, 'the source moves its table only'],
])('a guest stays where only the VMM of %s moves the rest', async (_, from, to, message) => {
  const meanwhile = async (sending: Promise<number>): Promise<void> => {
    await sending;
    interrupt();
  };
  const { codes, sent, received, asked } = await move(from, to, { meanwhile });
  expect(codes).toEqual([1, 130]);
  expect(sent).toContain(message);
  expect(eventOf(received, 'refused')).toMatchObject({
    message: expect.stringContaining(message) as unknown,
  });
  expect(asked).toEqual({ source: ['rest-ms'], destination: ['can-accept'] });
});

test.each(['finish', 'accept'])(
  'Ctrl-C ends both commands while %s hangs, and the guest stays',
  async (name) => {
    let begun = (): void => undefined;
    const hasBegun = new Promise<void>((resolve) => (begun = resolve));
    const told: Answers = {
      [name]: (request: VmmRequest) => {
        begun();
        return hangs(request);
      },
    };
    const meanwhile = async (): Promise<void> => {
      await hasBegun;
      interrupt();
    };
    const { codes, asked } = await move({ ...SOURCE, ...told }, { ...DESTINATION, ...told }, { meanwhile });
    expect(codes).toEqual([130, 130]);
    expect(asked.source.at(-1)).toBe('resume');
    expect(asked.destination.at(-1)).toBe('discard');
  },
);

test('receive leaves alone what has come before it was started again', async () => {
  const { at, lines } = await vmmWith(scratch('vmm'), DESTINATION);
  const socket = scratch('socket');
  const receiving = run(['receive', `unix:${socket}`, '--htab-socket', at], captureOutput());
  while (!existsSync(socket)) await new Promise((resolve) => setImmediate(resolve));
  interrupt();
  expect(await receiving).toBe(130);
  expect(lines).toEqual(['can-accept']);
});

test('receive takes no table alone for a VMM that could not be asked', async () => {
  const [at, socket] = [scratch('vmm'), scratch('socket')];
  const [sender, receiver] = [captureOutput(), captureOutput()];
  const receiving = run(['receive', `unix:${socket}`, '--htab-socket', at], receiver);
  while (!existsSync(socket)) await new Promise((resolve) => setImmediate(resolve));
  expect(receiver.stderr.text).toContain(
    'memory and devices: the VMM cannot be asked: connect to the VMM at',
  );
  await startVmm(at, () => 'ok\n');
  const from = await vmmWith(scratch('vmm'), {});
  const sent = await run(['send', `unix:${socket}`, '--htab-socket', from.at, '--reconnect-ms', '0'], sender);
  expect([sent, await receiving]).toEqual([1, 1]);
  expect(receiver.stderr.text).toContain(
    'could not be asked when this command began; start the command again',
  );
  expect(target.table!.validCount).toBe(0);
});
