import { describe, expect, test } from 'vitest';
import { scratchFiles } from '../scratch.js';
import { CommitProxy } from './commit-proxy.js';
import { CommandProcess, notCompiled, startReceive, startSend, type Ended } from './processes.js';
import { GUEST, ANY_PORT, NO_RETRY, hooks, digestOf, errorOf } from './moved-guests.js';

const temporary = scratchFiles();

describe.skipIf(notCompiled !== undefined)(
  `two processes${notCompiled === undefined ? '' : ` (${notCompiled})`}`,
  () => {
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
        const { args, log } = hooks(temporary('log'));
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
