import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, onTestFinished, test } from 'vitest';
import { run } from '../../lib/cli/program.js';
import { MAX_STATE_BYTES } from '../../lib/migration/rest.js';
import { scratchFiles } from '../scratch.js';
import { captureOutput } from './capture.js';
import { notCompiled, startReceive, startSend, type CommandProcess } from './processes.js';

const scratch = scratchFiles();
const GUEST = '--emulated=order=18,steps=200';
/** For a command that hangs: long enough for the others on a busy machine. */
const BRIEF = ['--guest-timeout-ms', '1500'];

/** Commands that write what they do, and the state's bytes, to a file. */
class HookLog {
  readonly file = scratch('log');

  get lines(): string[] {
    return existsSync(this.file) ? readFileSync(this.file, 'utf8').trimEnd().split('\n') : [];
  }

  /** A command that writes this, and then does that. */
  line(text: string, then = ''): string {
    return `echo ${text} >> ${this.file}; ${then}`;
  }

  source(finish: string): string[] {
    const pausing = ['--on-pause', this.line('pause'), '--on-resume', this.line('resume')];
    return [...pausing, '--on-finish', this.line('finish', finish)];
  }

  destination({ accept = '', discard = '', run = '' } = {}): string[] {
    return [
      ...['--on-accept', this.line('accept', accept)],
      ...['--on-discard', this.line('discard', discard)],
      ...['--on-run', this.line('run', run)],
    ];
  }
}

interface Moved {
  /** Exit codes: of send, of receive. */
  readonly codes: readonly number[];
  readonly said: string;
  readonly printed: string;
}

/** Moves an emulated guest with both commands. */
async function move(send: readonly string[], receive: readonly string[]): Promise<Moved> {
  const at = scratch('socket');
  const [sender, receiver] = [captureOutput(), captureOutput()];
  const once = ['--reconnect-ms', '0'];
  const receiving = run(['receive', `unix:${at}`, '--emulated', ...once, ...receive], receiver);
  while (!existsSync(at)) await new Promise((resolve) => setImmediate(resolve));
  const sending = run(['send', `unix:${at}`, GUEST, ...once, ...send], sender);
  return {
    codes: await Promise.all([sending, receiving]),
    said: sender.stderr.text + receiver.stderr.text,
    printed: sender.stdout.text + receiver.stdout.text,
  };
}

describe('commands for the rest of a guest', () => {
  test('move it, and both sides say so', async () => {
    const log = new HookLog();
    const finish = 'printf "state of $KVM_HTAB_MIGRATION, $KVM_HTAB_DEADLINE_MS ms"';
    const accept = `{ cat; echo " for $KVM_HTAB_MIGRATION"; } >> ${log.file}`;
    const send = [...log.source(finish), '--migration-id', 'm-1'];
    const { codes, said, printed } = await move(send, log.destination({ accept }));
    expect(codes).toEqual([0, 0]);
    const state = 'state of m-1, 120000 ms for m-1';
    expect(log.lines).toEqual(['pause', 'finish', 'accept', state, 'run']);
    expect(said).toContain('memory and devices: moved by --on-finish\n');
    expect(said).toContain('memory and devices: taken by --on-accept\n');
    expect(printed).toMatch(/^rest {15}moved: 23 B of state, finished in \d/m);
    expect(printed).toMatch(/^rest {9}moved: 23 B of state, accepted in .*, running after \d/m);
    expect(printed).toContain('the guest runs here');
  });

  test.each([
    [0, 'true'],
    [MAX_STATE_BYTES, `head -c ${MAX_STATE_BYTES} /dev/zero`],
  ])('bring %i bytes of state', async (bytes, finish) => {
    const log = new HookLog();
    const { codes } = await move(log.source(finish), log.destination({ accept: `wc -c >> ${log.file}` }));
    expect(codes).toEqual([0, 0]);
    expect(log.lines).toEqual(['pause', 'finish', 'accept', String(bytes), 'run']);
  });

  test('need not read the state', async () => {
    const log = new HookLog();
    const { codes } = await move(log.source(`head -c ${MAX_STATE_BYTES} /dev/zero`), log.destination());
    expect(codes).toEqual([0, 0]);
  });

  test('decide when the guest is stopped', async () => {
    const log = new HookLog();
    const near = scratch('near');
    const restMs = `[ -e ${near} ] && echo 20 || { touch ${near}; echo far; }`;
    const send = [...log.source(''), '--on-rest-ms', log.line('asked', restMs), '--scan-share', '1'];
    const { codes } = await move(send, log.destination());
    expect(codes).toEqual([0, 0]);
    expect(log.lines.slice(0, 2)).toEqual(['asked', 'asked']);
    expect(log.lines.filter((line) => line !== 'asked')).toEqual(['pause', 'finish', 'accept', 'run']);
  });
});

describe('a guest stays', () => {
  test.each([
    ['fails', 'exit 7', [], 'the command of --on-finish ended with status 7: echo finish'],
    ['is killed', 'kill -KILL $$', [], 'the command of --on-finish was ended by SIGKILL: echo finish'],
    ['hangs', 'sleep 1000', ['--stop-limit-ms', '1500'], 'the guest reached its stop limit of 1500 ms'],
    [
      'leaves its output to a daemon',
      'setsid sleep 5 & exit',
      ['--stop-limit-ms', '1500'],
      'stop limit of 1500 ms',
    ],
    ['prints a byte too many', `head -c ${MAX_STATE_BYTES + 1} /dev/zero`, [], 'the command of --on-finish printed more than 16777216 bytes'], // prettier-ignore
    [
      'prints without end',
      'cat /dev/zero',
      [],
      'the command of --on-finish printed more than 16777216 bytes',
    ],
  ])('where --on-finish %s', async (_, finish, args, message) => {
    const log = new HookLog();
    const { codes, said } = await move([...log.source(finish), ...args], log.destination());
    expect(said).toContain(message);
    expect(codes).toEqual([1, 1]);
    expect(log.lines.slice(0, 2)).toEqual(['pause', 'finish']);
    expect(log.lines.slice(2).sort()).toEqual(['discard', 'resume']);
  });

  test.each([
    ['fails', 'exit 7', [], 'the command of --on-accept ended with status 7: echo accept'],
    ['is killed', 'kill -KILL $$', [], 'the command of --on-accept was ended by SIGKILL: echo accept'],
    ['hangs', 'sleep 1000', ['--stop-limit-ms', '1500'], 'the guest reached its stop limit of 1500 ms'],
  ])('where --on-accept %s', async (_, accept, args, message) => {
    const log = new HookLog();
    const { codes, said } = await move([...log.source(''), ...args], log.destination({ accept }));
    expect(said).toContain(message);
    expect(codes).toEqual([1, 1]);
    expect(log.lines.slice(0, 3)).toEqual(['pause', 'finish', 'accept']);
    expect(log.lines.slice(3).sort()).toEqual(['discard', 'resume']);
  });

  test.each([
    ['fails', 'exit 7', 'the command of --on-discard ended with status 7', []],
    ['hangs', 'sleep 1000', 'was ended by SIGKILL (it may take 1500 ms)', BRIEF],
  ])('where --on-discard %s, and receive says so', async (_, discard, message, args) => {
    const log = new HookLog();
    const receive = [...log.destination({ accept: 'false', discard }), ...args];
    const { codes, said } = await move(log.source(''), receive);
    expect(codes).toEqual([1, 1]);
    expect(said).toContain('could not be discarded; do not run the target');
    expect(said).toContain(message);
  });

  test.each([
    ['exit 7', 'the command of --on-rest-ms ended with status 7'],
    ['sleep 1000', 'was ended by SIGKILL (it may take 1500 ms)', ['--pause-timeout-ms', '1500']],
    ['true', 'the command of --on-rest-ms printed ""; a number of ms, or "far", is expected'],
    ['echo -1', 'the command of --on-rest-ms printed "-1"'],
    ['yes', 'the command of --on-rest-ms printed more than 64 bytes'],
  ] as [string, string, string[]?][])(
    'and is not even stopped where --on-rest-ms is %j',
    async (restMs, message, args = []) => {
      const log = new HookLog();
      const send = [...log.source(''), '--on-rest-ms', restMs, ...args];
      const { codes, said } = await move(send, log.destination());
      expect(said).toContain(message);
      expect(codes).toEqual([1, 1]);
      expect(log.lines).toEqual(['discard']);
    },
  );
});

test.each([
  ['fails', 'exit 7', 'the command of --on-run ended with status 7', []],
  ['hangs', 'sleep 1000', 'was ended by SIGKILL (it may take 1500 ms)', BRIEF],
  ['is killed', 'kill -KILL $$', 'was ended by SIGKILL', []],
])('a guest is here and not known to run where --on-run %s', async (_, start, message, args) => {
  const log = new HookLog();
  const receive = [...log.destination({ run: start }), ...args];
  const { codes, said } = await move(log.source(''), receive);
  expect(codes).toEqual([0, 5]);
  expect(said).toContain(
    'the guest has moved here and is not known to run; never run it at the source, and look before you run it',
  );
  expect(said).toContain(message);
  expect(log.lines).toEqual(['pause', 'finish', 'accept', 'run']);
});

describe.skipIf(notCompiled !== undefined)('a process', () => {
  interface Processes {
    readonly log: HookLog;
    readonly journal: string;
    readonly sender: CommandProcess;
    readonly receiver: CommandProcess;
  }

  /** Both commands, until one of these hangs. */
  async function startMove(finish: string, accept: string): Promise<Processes> {
    const log = new HookLog();
    const journal = scratch('journal');
    const once = ['--reconnect-ms', '0', '--journal', journal];
    const { receiver, address } = await startReceive(
      `unix:${scratch('socket')}`,
      ...['--emulated', ...once, ...log.destination({ accept })],
    );
    const sender = startSend(address, GUEST, ...once, ...log.source(finish), '--migration-id', 'm-1');
    const name = finish === '' ? 'accept' : 'finish';
    while (!log.lines.includes(name)) await new Promise((resolve) => setImmediate(resolve));
    return { log, journal, sender, receiver };
  }

  test.each([
    ['send', 'finish', 'sleep 1000', '', [130, 1]],
    ['send', 'accept', '', 'sleep 1000', [130, 1]],
    ['receive', 'finish', 'sleep 1000', '', [1, 130]],
    ['receive', 'accept', '', 'sleep 1000', [1, 130]],
  ])('%s ends by Ctrl-C while %s hangs, and the guest stays', async (which, _, finish, accept, codes) => {
    const { log, sender, receiver } = await startMove(finish, accept);
    (which === 'send' ? sender : receiver).kill('SIGINT');
    expect([(await sender.ended).code, (await receiver.ended).code]).toEqual(codes);
    expect(log.lines).toContain('resume');
    expect(log.lines).toContain('discard');
    expect(log.lines).not.toContain('run');
  });

  test('receive that is killed while --on-accept runs leaves the guest at the source', async () => {
    const go = scratch('go');
    onTestFinished(() => {
      writeFileSync(go, '');
    });
    const { log, journal, sender, receiver } = await startMove(
      '',
      `while [ ! -e ${go} ]; do sleep 0.01; done`,
    );
    receiver.kill('SIGKILL');
    expect((await sender.ended).code).toBe(1);
    expect(log.lines.at(-1)).toBe('resume');
    const output = captureOutput();
    const asked = ['resolve', 'm-1', '--side', 'destination', '--journal', journal];
    expect(await run(asked, output)).not.toBe(0);
    expect(output.stdout.text + output.stderr.text).not.toContain('committed');
    expect(log.lines).not.toContain('run');
  });
});
