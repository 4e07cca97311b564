import { constants } from 'node:os';
import { beforeEach, expect, test, vi } from 'vitest';
import type { Addon, Descriptor } from '../../../lib/vm/kvm/addon.js';
import { receiveHtab, requestHtab } from '../../../lib/vm/kvm/handover.js';

// A peer that sends what it is told to, over sockets that nothing is behind.
const { peer } = vi.hoisted(() => ({
  peer: { files: [] as string[], text: '', busy: 0, closes: [] as string[] },
}));

vi.mock(import('../../../lib/vm/kvm/addon.js'), async (original) => {
  const names = new Map<Descriptor, string>();
  const descriptor = (name: string): Descriptor => {
    const made: Descriptor = {
      close: () => {
        peer.closes.push(name);
        // The file of a stranger that takes for ever to close.
        return name === 'stuck' ? new Promise(() => undefined) : Promise.resolve();
      },
    };
    names.set(made, name);
    return made;
  };
  const addon: Partial<Addon> = {
    connect: () => {
      peer.busy -= 1;
      if (peer.busy < 0) return Promise.resolve(descriptor('socket'));
      return Promise.reject(
        Object.assign(new Error('connect'), { errno: constants.errno.EAGAIN, syscall: 'connect' }),
      );
    },
    send: (_peer, bytes) => Promise.resolve(bytes.length),
    receive: () => Promise.resolve({ descriptors: peer.files.map(descriptor), text: peer.text }),
    inspectFile: (file) => Promise.resolve({ name: names.get(file)!, flags: 0 }),
  };
  return { ...(await original()), loadAddon: () => addon as Addon };
});

beforeEach(() => {
  peer.files = [];
  peer.text = '';
  peer.busy = 0;
  peer.closes.length = 0;
});

test('a peer that is busy is asked again', async () => {
  peer.busy = 3;
  peer.files = ['anon_inode:kvm-htab'];
  await using handle = await receiveHtab('/socket');
  expect(handle.access).toBe('read');
  expect(peer.closes).toEqual(['socket']);
});

test.each([[['stuck']], [['stuck', 'stuck']]])(
  'a refusal does not wait for the files of a stranger to close: %j',
  async (files) => {
    peer.files = files;
    await expect(receiveHtab('/socket')).rejects.toMatchObject({ reason: 'unsupported' });
    expect(peer.closes).toEqual(['socket', ...files]);
  },
);

test.each([
  ['error 25\n', 'refused', 'the VMM at /socket refused open-read: "error 25"; ask the operator of the VMM'],
  ['ok 24\n', 'unsupported', 'has 0 descriptors and says "ok 24\\n"'],
  ['', 'unsupported', 'has 0 descriptors and says ""'],
])('an answer of %j without a descriptor is %s', async (text, reason, message) => {
  peer.text = text;
  await expect(requestHtab('/socket', { request: 'open-read\n' })).rejects.toMatchObject({
    reason,
    message: expect.stringContaining(message) as string,
  });
});

test('a signal that is aborted already is honoured before anything is done', async () => {
  const reason = new Error('never mind');
  await expect(receiveHtab('/socket', { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  expect(peer.closes).toEqual([]);
});
