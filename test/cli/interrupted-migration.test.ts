import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { openJournal } from '../../lib/migration/journal/journal-file.js';
import { addonIfBuilt } from '../native/support.js';
import { scratchFiles } from '../scratch.js';
import { CommandProcess, notCompiled, startReceive, startSend, type Ended } from './processes.js';
import { GUEST, BUSY_GUEST, ANY_PORT, SLOW, NO_RETRY, hooks, expectMoved, errorOf } from './moved-guests.js';

/** Without the addon a process cannot leave a file call that hangs. */
const noAddon = addonIfBuilt() === undefined ? ' (the addon is not built)' : '';

const temporary = scratchFiles();

describe.skipIf(notCompiled !== undefined)(
  `two processes${notCompiled === undefined ? '' : ` (${notCompiled})`}`,
  () => {
    test('a receiver killed while the guest is stopped: it is resumed, and stays', async () => {
      const { receiver, address } = await startReceive(ANY_PORT, '--emulated');
      const { args, log } = hooks(temporary('log'), `kill -KILL ${receiver.pid}`);
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
      const { args, log } = hooks(temporary('log'), `kill -STOP ${receiver.pid}`);
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
      const { args, log } = hooks(temporary('log'), `kill -${signal.slice(3)} $PPID; sleep 0.1`);
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
      const { args, log } = hooks(temporary('log'), `kill -KILL ${receiver.pid}`, 'exit 3');
      const sent = await startSend(address, ...GUEST, ...args, ...NO_RETRY).ended;
      expect(sent.code).toBe(5);
      expect(sent.stderr).toContain('the guest could not be resumed: it is here, unharmed and stopped');
      expect(sent.stderr).toContain('the command of --on-resume ended with status 3');
      expect(log()).toEqual(['paused', 'resumed']);
    });

    test('a pause that fails leaves the guest where it is', async () => {
      const { receiver, address } = await startReceive(ANY_PORT, '--emulated');
      const { args, log } = hooks(temporary('log'), 'exit 1');
      const sent = await startSend(address, ...GUEST, ...args, ...NO_RETRY).ended;
      expect(sent.code).toBe(1);
      expect(sent.stderr).toContain('the command of --on-pause ended with status 1');
      expect(log()).toEqual(['paused', 'resumed']);
      expect((await receiver.ended).code).toBe(1);
    });

    test('without a destination the guest is not touched', async () => {
      const { args } = hooks(temporary('log'));
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
        const { args: control, log } = hooks(temporary('log'));
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
  },
);
