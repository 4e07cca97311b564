import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { describe, expect, test } from 'vitest';
import { openJournal } from '../../lib/migration/journal/journal-file.js';
import { addonIfBuilt } from '../native/support.js';
import { scratchFiles } from '../scratch.js';
import { Authority, noCertificates } from '../transport/certificates.js';
import { CommitProxy } from './commit-proxy.js';
import { CommandProcess, notCompiled, startReceive, startSend, type Ended } from './processes.js';

/** A guest with some two thousand entries; it stands still, so that hooks can stand for its VMM. */
const GUEST = ['--emulated=order=20'];
/** One that works meanwhile. */
const BUSY_GUEST = ['--emulated=order=20,rate=2000'];
const ANY_PORT = 'tcp://127.0.0.1:0';
/** The first pass takes some ten seconds at this rate; no test waits for its end. */
const SLOW = ['--bandwidth', '5k'];
const NO_RETRY = ['--reconnect-ms', '0'];

/** Without the addon a process cannot leave a file call that hangs. */
const noAddon = addonIfBuilt() === undefined ? ' (the addon is not built)' : '';

const temporary = scratchFiles();

/** Hooks that note what they do, and do something more in their first pause. */
function hooks(atPause = 'true', atResume = 'true'): { args: string[]; log: () => string[] } {
  const file = temporary('log');
  return {
    args: [
      '--on-pause',
      `echo paused >> ${file}; ${atPause}`,
      '--on-resume',
      `echo resumed >> ${file}; ${atResume}`,
    ],
    log: () => readFileSync(file, 'utf8').trimEnd().split('\n'),
  };
}

/** The last event, after which neither side waits for anything. */
function digestOf({ events }: Ended): unknown {
  expect(events.at(-1)!.event).toBe('digest');
  return events.at(-1)!['digest'];
}

function expectMoved(sent: Ended, received: Ended): void {
  expect(received).toMatchObject({ code: 0, stderr: '' });
  expect(sent).toMatchObject({ code: 0, stderr: '' });
  expect(digestOf(sent)).toMatch(/^[0-9a-f]{64}$/);
  expect(digestOf(received)).toBe(digestOf(sent));
  expect(received.done).toMatchObject({
    migrationId: sent.done!['migrationId'],
    validEntries: sent.done!['validEntries'],
    order: 20,
  });
}

function errorOf({ events }: Ended): string {
  const failed = events.at(-1)!;
  expect(failed.event).toBe('failed');
  return String(failed['message']);
}

describe.skipIf(notCompiled !== undefined)(
  `two processes${notCompiled === undefined ? '' : ` (${notCompiled})`}`,
  () => {
    test.each([ANY_PORT, `unix:${temporary('socket')}`])('move a guest over %s', async (place) => {
      const { receiver, address } = await startReceive(place, '--emulated');
      const sender = startSend(address, ...BUSY_GUEST);
      const [sent, received] = await Promise.all([sender.ended, receiver.ended]);
      expectMoved(sent, received);
      const migrationId = sent.done!['migrationId'];
      expect(sent.events.slice(0, 2)).toMatchObject([
        { event: 'state', state: 'connecting', migrationId },
        { event: 'connected', migrationId },
      ]);
      expect(sent.events.map(({ event }) => event)).toEqual(
        expect.arrayContaining(['connected', 'state', 'pass', 'outcome']),
      );
      expect(sent.events.filter(({ event }) => event === 'state').map(({ state }) => state)).toEqual([
        'connecting',
        'copying',
        'stopped',
        'committing',
        'moved',
      ]);
      expect(sent.events.slice(-2).map(({ event }) => event)).toEqual(['done', 'digest']);
      const passes = ({ events }: Ended): unknown[] =>
        events.filter(({ event }) => event === 'pass').map(({ pass, bytes }) => [pass, bytes]);
      expect(passes(received)).toEqual(passes(sent));
    });

    const overTls = `move a guest over TLS${noCertificates === undefined ? '' : ` (${noCertificates})`}`;
    test.skipIf(noCertificates !== undefined)(overTls, async () => {
      const authority = new Authority('ours', temporary);
      const files = (name: string): string[] => {
        const { cert, key, ca } = authority.issue(name);
        return ['--cert', cert, '--key', key, '--ca', ca];
      };
      const { receiver, address } = await startReceive(
        'tls://127.0.0.1:0',
        '--emulated',
        ...files('IP:127.0.0.1'),
        ...['--peer-name', 'a.example'],
      );
      // A host of the same authority that is not the one expected.
      const other = await startSend(address, ...GUEST, ...files('DNS:c.example'), ...NO_RETRY).ended;
      expect(other.code).toBe(1);
      expect(await receiver.event('refused')).toMatchObject({ from: '127.0.0.1' });
      // A stranger, whose own authority is another.
      const stranger = new Authority('theirs', temporary).issue('DNS:a.example');
      const strangerFiles = ['--cert', stranger.cert, '--key', stranger.key, '--ca', stranger.ca];
      const refused = await startSend(address, ...GUEST, ...strangerFiles).ended;
      expect(refused.code).toBe(1);
      expect(errorOf(refused)).toMatch(/certificate/);

      const sender = startSend(address, ...BUSY_GUEST, ...files('DNS:a.example'));
      const [sent, received] = await Promise.all([sender.ended, receiver.ended]);
      expectMoved(sent, received);
    });

    test('a socket that systemd passes is listened at', async () => {
      const server = createServer().listen(0, '127.0.0.1');
      await once(server, 'listening');
      const { port } = server.address() as { port: number };
      const { fd } = (server as unknown as { _handle: { fd: number } })._handle;
      const receiver = new CommandProcess(['receive', 'systemd', '--emulated'], {
        shell: 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"',
        inherited: [fd],
      });
      server.close();
      expect(await receiver.event('listening')).toMatchObject({ address: `tcp://127.0.0.1:${port}` });
      const sender = startSend(`tcp://127.0.0.1:${port}`, ...GUEST);
      expectMoved(...(await Promise.all([sender.ended, receiver.ended])));
    });

    test('plaintext beyond this machine is refused by both, as wrong usage', async () => {
      const receiver = new CommandProcess(['receive', 'tcp://0.0.0.0:0', '--emulated']);
      const sender = startSend('tcp://192.0.2.1:7000', ...GUEST);
      for (const ended of await Promise.all([receiver.ended, sender.ended])) {
        expect(ended.code).toBe(2);
        expect(errorOf(ended)).toContain('--insecure-plaintext');
      }
    });

    test('a receiver killed while the guest is stopped: it is resumed, and stays', async () => {
      const { receiver, address } = await startReceive(ANY_PORT, '--emulated');
      const { args, log } = hooks(`kill -KILL ${receiver.pid}`);
      const sent = await startSend(address, ...GUEST, ...args, ...NO_RETRY).ended;
      expect(sent.code).toBe(1);
      expect(log()).toEqual(['paused', 'resumed']);
      expect(sent.events).toContainEqual(expect.objectContaining({ event: 'outcome', outcome: 'stayed' }));
      expect((await receiver.ended).signal).toBe('SIGKILL');
    });

    test('a receiver killed in a pass, and started again: the guest never stops, and is moved', async () => {
      const first = await startReceive(ANY_PORT, '--emulated');
      const sender = startSend(first.address, ...BUSY_GUEST, '--bandwidth', '50k');
      await sender.event('pass');
      first.receiver.kill('SIGKILL');
      await first.receiver.ended;
      const second = await startReceive(first.address, '--emulated');
      const [sent, received] = await Promise.all([sender.ended, second.receiver.ended]);
      expectMoved(sent, received);
      expect(sent.done!['attempts']).toBeGreaterThan(1);
    });

    test('a receiver that stands still: the guest is resumed, and stays', async () => {
      const { receiver, address } = await startReceive(ANY_PORT, '--emulated');
      const { args, log } = hooks(`kill -STOP ${receiver.pid}`);
      const impatient = ['--timeout-ms', '5000', ...NO_RETRY];
      const sent = await startSend(address, ...GUEST, ...args, ...impatient).ended;
      expect(sent.code).toBe(1);
      expect(errorOf(sent)).toContain('5000 ms');
      expect(log()).toEqual(['paused', 'resumed']);
    });

    test.each([
      ['SIGINT', 130],
      ['SIGTERM', 143],
      ['SIGHUP', 129],
    ] as const)('%s while the guest is stopped: it is resumed, exit code %i', async (signal, code) => {
      const { receiver, address } = await startReceive(ANY_PORT, '--emulated');
      const { args, log } = hooks(`kill -${signal.slice(3)} $PPID; sleep 0.1`);
      const sent = await startSend(address, ...GUEST, ...args).ended;
      expect(sent).toMatchObject({ code, stderr: `kvm-htab: ended by ${signal}; the guest runs on here\n` });
      expect(log()).toEqual(['paused', 'resumed']);
      const received = await receiver.ended;
      expect(received.code).toBe(1);
      expect(errorOf(received)).toContain('the source reports');
    });

    test('SIGINT in a pass ends both sides', async () => {
      const { receiver, address } = await startReceive(ANY_PORT, '--emulated');
      const sender = startSend(address, ...BUSY_GUEST, ...SLOW);
      await sender.event('progress');
      sender.kill('SIGINT');
      expect((await sender.ended).code).toBe(130);
      expect((await receiver.ended).code).toBe(1);
    });

    test('SIGTERM ends a receiver that waits', async () => {
      const { receiver } = await startReceive(ANY_PORT, '--emulated');
      receiver.kill('SIGTERM');
      expect(await receiver.ended).toMatchObject({ code: 143, stderr: 'kvm-htab: ended by SIGTERM\n' });
    });

    test('send reports a guest that cannot be resumed as stopped, with an exit code of its own', async () => {
      const { receiver, address } = await startReceive(ANY_PORT, '--emulated');
      const { args, log } = hooks(`kill -KILL ${receiver.pid}`, 'exit 3');
      const sent = await startSend(address, ...GUEST, ...args, ...NO_RETRY).ended;
      expect(sent.code).toBe(5);
      expect(sent.stderr).toContain('the guest could not be resumed: it is here, unharmed and stopped');
      expect(sent.stderr).toContain('the command of --on-resume ended with status 3');
      expect(log()).toEqual(['paused', 'resumed']);
    });

    test('a pause that fails leaves the guest where it is', async () => {
      const { receiver, address } = await startReceive(ANY_PORT, '--emulated');
      const { args, log } = hooks('exit 1');
      const sent = await startSend(address, ...GUEST, ...args, ...NO_RETRY).ended;
      expect(sent.code).toBe(1);
      expect(sent.stderr).toContain('the command of --on-pause ended with status 1');
      expect(log()).toEqual(['paused', 'resumed']);
      expect((await receiver.ended).code).toBe(1);
    });

    test('without a destination the guest is not touched', async () => {
      const { args } = hooks();
      const sent = await startSend('unix:/nowhere', ...GUEST, ...args).ended;
      expect(sent).toMatchObject({ code: 1 });
      expect(errorOf(sent)).toContain('ENOENT');
    });

    const onHungDisk = `a journal whose disk hangs delays neither the error nor, for long, the end of the process${noAddon}`;
    test.skipIf(noAddon !== '')(onHungDisk, async () => {
      const [fifo, preload] = [temporary('fifo'), temporary('preload.mjs')];
      execFileSync('mkfifo', [fifo]);
      // Opened for reading only, it takes a thread and never gives it back, as such a disk does.
      writeFileSync(
        preload,
        `import { open } from 'node:fs/promises';
         const file = await open(${JSON.stringify(preload)});
         const prototype = Object.getPrototypeOf(file);
         const { datasync } = prototype;
         let calls = 0;
         prototype.datasync = function () {
           return ++calls > Number(process.env.GOOD_CALLS) ? open(${JSON.stringify(fifo)}) : datasync.call(this);
         };
         await file.close();`,
      );
      const hangingAfter = (calls: number): { shell: string } => ({
        shell: `GOOD_CALLS=${calls} NODE_OPTIONS="--import ${preload}" exec "$@"`,
      });
      const hanging = hangingAfter(0);
      // The side whose disk hangs is to give up, long before the other does; in this time it has to come that far.
      const impatient = ['--timeout-ms', '10000', ...NO_RETRY];
      const patient = ['--timeout-ms', '600000', ...NO_RETRY];
      const move = async (
        atSource: boolean,
        ...more: string[]
      ): Promise<{ sent: Ended; received: Ended; log: string[] }> => {
        const journal = ['--journal', temporary('journal')];
        const receiver = new CommandProcess(
          ['receive', ANY_PORT, '--emulated', ...(atSource ? patient : [...impatient, ...journal])],
          atSource ? {} : hanging,
        );
        const address = String((await receiver.event('listening'))['address']);
        const { args: control, log } = hooks();
        const sender = new CommandProcess(
          [
            ...['send', address, ...GUEST, ...control, ...more],
            ...(atSource ? [...impatient, ...journal] : patient),
          ],
          atSource ? hanging : {},
        );
        return { sent: await sender.ended, received: await receiver.ended, log: log() };
      };
      const decide = async (): Promise<Ended> => {
        const file = temporary('pending');
        const journal = await openJournal(file);
        await journal.begin({ side: 'source', migrationId: 'm-1', order: 18, digest: 'a'.repeat(64) });
        await journal.close();
        const decision = ['--decide', 'aborted', '--timeout-ms', '5000'];
        return new CommandProcess(['resolve', 'm-1', '--journal', file, ...decision], hanging).ended;
      };
      const interruptWhenDone = async (): Promise<Ended> => {
        const { address } = await startReceive(ANY_PORT, '--emulated');
        const journal = ['--journal', temporary('journal')];
        const sender = new CommandProcess(['send', address, ...GUEST, ...journal], hangingAfter(1));
        await sender.event('digest');
        // What it has opened is waited for a second; after that a signal ends it.
        const signals = setInterval(() => {
          sender.kill('SIGINT');
        }, 1000);
        return sender.ended.finally(() => {
          clearInterval(signals);
        });
      };
      const [source, destination, stopped, resolved, interrupted] = await Promise.all([
        move(true),
        move(false),
        move(false, '--stop-limit-ms', '300'),
        decide(),
        interruptWhenDone(),
      ]);
      expect(interrupted).toMatchObject({ code: 0, stderr: '' });
      expect(resolved.stderr).toContain('the journal did not answer within 5000 ms');
      expect(errorOf(source.sent)).toBe(
        'the source does not commit: its journal has not recorded the migration: ' +
          'the journal did not answer within 10000 ms; check its disk',
      );
      expect(errorOf(destination.received)).toContain('the journal did not answer within 10000 ms');
      for (const { code, signal, stderr } of [source.sent, destination.received, resolved]) {
        expect({ code, signal }).toEqual({ code: 1, signal: null });
        expect(stderr).toContain('a file operation is hung');
      }
      expect([source.received.code, destination.sent.code]).toEqual([1, 1]);
      expect(errorOf(stopped.sent)).toContain('the guest reached its stop limit of 300 ms');
      for (const { log } of [source, destination, stopped]) expect(log).toEqual(['paused', 'resumed']);
    });

    describe('an acknowledgement that is lost', () => {
      interface Lost {
        readonly sent: Ended;
        readonly log: string[];
        readonly journals: { readonly source: string; readonly destination: string };
        readonly received: Ended;
        readonly migrationId: string;
      }

      async function lose(fault: 'lose-commit' | 'lose-answer'): Promise<Lost> {
        const journals = { source: temporary('source'), destination: temporary('destination') };
        const { receiver, address } = await startReceive(
          ANY_PORT,
          ...['--emulated', '--journal', journals.destination, ...NO_RETRY],
        );
        const proxy = await CommitProxy.start(address, fault);
        const { args, log } = hooks();
        const sender = startSend(
          proxy.address,
          ...[...GUEST, ...args, '--journal', journals.source, '--reconnect-ms', '2000'],
        );
        const [sent, received] = await Promise.all([sender.ended, receiver.ended]);
        const outcome = sent.events.find(({ event }) => event === 'outcome')!;
        return { sent, log: log(), journals, received, migrationId: String(outcome['migrationId']) };
      }

      /** A receiver with a journal, and what `resolve` learns of it. */
      async function resolveWith(journals: Lost['journals'], ...args: string[]): Promise<Ended> {
        const { address } = await startReceive(ANY_PORT, '--emulated', '--journal', journals.destination);
        return new CommandProcess(['resolve', '--journal', journals.source, '--ask', address, ...args]).ended;
      }

      test('leaves the guest stopped, in doubt; resolve learns that it has moved', async () => {
        const { sent, log, journals, received, migrationId } = await lose('lose-answer');
        expect(received.code).toBe(0);
        expect(sent.code).toBe(4);
        expect(sent.stderr).toContain(migrationId);
        expect(log).toEqual(['paused']);

        const undecided = await new CommandProcess(['resolve', '--journal', journals.source]).ended;
        expect(undecided.code).toBe(4);
        expect(undecided.events).toMatchObject([
          { migrationId, side: 'source', state: 'pending', order: 20 },
        ]);
        const resolved = await resolveWith(journals);
        expect(resolved.events).toMatchObject([{ migrationId, state: 'committed' }]);
        expect(resolved.code).toBe(0);
        // From here on the journal has it.
        const again = await new CommandProcess(['resolve', migrationId, '--journal', journals.source]).ended;
        expect(again).toMatchObject({ code: 0, events: [{ migrationId, state: 'committed' }] });
        const all = await new CommandProcess(['resolve', '--journal', journals.source]).ended;
        expect(all).toMatchObject({ code: 0, events: [{ migrationId, state: 'committed' }] });
      });

      test('is answered by a receiver that was started again, though its VMM is gone; the VMM is for a table only', async () => {
        const { journals, migrationId } = await lose('lose-answer');
        const { receiver, address } = await startReceive(
          ANY_PORT,
          ...['--htab-socket', '/nowhere', '--journal', journals.destination],
        );
        const args = ['resolve', '--journal', journals.source, '--ask', address];
        const resolved = await new CommandProcess(args).ended;
        expect(resolved).toMatchObject({ code: 0, events: [{ migrationId, state: 'committed' }] });

        const sent = await startSend(address, ...GUEST, ...NO_RETRY).ended;
        expect(sent.code).toBe(1);
        expect(errorOf(sent)).toContain('the destination reports');
        expect((await receiver.ended).code).not.toBe(0);
      });

      test('resolve learns that the commit never came', async () => {
        const { sent, log, journals, received, migrationId } = await lose('lose-commit');
        expect(sent.code).toBe(4);
        expect(received.code).toBe(1);
        expect(log).toEqual(['paused']);
        const resolved = await resolveWith(journals);
        expect(resolved).toMatchObject({ code: 0, events: [{ migrationId, state: 'aborted' }] });
      });

      test('a destination that has another journal knows nothing: it stays in doubt', async () => {
        const { journals, migrationId } = await lose('lose-answer');
        const others = { ...journals, destination: temporary('other') };
        const resolved = await resolveWith(others);
        expect(resolved).toMatchObject({ code: 4, events: [{ migrationId, state: 'pending' }] });
        // An operator decides, and what is decided stays.
        const decide = (outcome: string): Promise<Ended> =>
          new CommandProcess(['resolve', migrationId, '--journal', journals.source, '--decide', outcome])
            .ended;
        expect(await decide('committed')).toMatchObject({ code: 0, events: [{ state: 'committed' }] });
        expect(await decide('aborted')).toMatchObject({
          ...{ code: 1, events: [{ state: 'committed' }, { event: 'failed', exitCode: 1 }] },
        });
      });

      test('is asked for by the source itself while the destination still answers', async () => {
        const { receiver, address } = await startReceive(ANY_PORT, '--emulated', '--answer-ms', '60000');
        const proxy = await CommitProxy.start(address, 'lose-answer');
        proxy.passesAgain = true;
        const sent = await startSend(proxy.address, ...GUEST).ended;
        expect(sent.done).toMatchObject({ acknowledged: 'asked' });
        expect(sent.code).toBe(0);
        // The guest is here, however the answering ends.
        receiver.kill('SIGTERM');
        const received = await receiver.ended;
        expect(received.code).toBe(0);
        expect(digestOf(received)).toBe(digestOf(sent));
      });
    });
  },
);
