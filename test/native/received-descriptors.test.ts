import { spawnSync } from 'node:child_process';
import { constants as os } from 'node:os';
import { setImmediate } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import type { Descriptor } from '../../lib/vm/kvm/addon.js';
import { receiveHtab } from '../../lib/vm/kvm/handover.js';
import { receiveMessage } from '../../lib/vm/kvm/passing.js';
import { addonFile, addonIfBuilt, numbersOf, scratchFolder } from './support.js';
import { pythonPeer, sendMany, socketPaths } from './socket-peers.js';

const built = addonIfBuilt();

describe.skipIf(built === undefined)('passing descriptors between processes', () => {
  const addon = built!;
  const folder = scratchFolder();
  const socketPath = socketPaths(folder);

  describe('over a Unix socket', () => {
    test('several descriptors of one message are all received', async () => {
      const before = numbersOf('/dev/null').length;
      const at = socketPath();
      using _peer = await sendMany(at, 16);
      const { descriptors, text } = await receiveMessage(addon, at, '', {});
      expect(text).toBe('here');
      expect(descriptors).toHaveLength(16);
      expect(numbersOf('/dev/null').length).toBe(before + 16);
      await Promise.all(descriptors.map((each) => each.close()));
      expect(numbersOf('/dev/null').length).toBe(before);
    });

    test('of more than sixteen none is kept', async () => {
      const at = socketPath();
      using _peer = await sendMany(at, 40);
      const before = numbersOf('/dev/null').length;
      await expect(receiveHtab(at)).rejects.toMatchObject({
        errnoName: 'EMFILE',
        syscall: 'recvmsg',
        hint: expect.stringContaining('at most 16') as string,
      });
      expect(numbersOf('/dev/null').length).toBe(before);
    });

    test('a process that has no number left for the descriptor is told so', () => {
      const at = socketPath();
      const script = `
        const [addon, at] = [require(process.argv[1]), process.argv[2]];
        (async () => {
          const listener = await addon.listen(at);
          const peer = await addon.connect(at);
          await addon.offer(listener, peer);
          const held = [];
          try { for (;;) held.push(require('fs').openSync('/dev/null')); } catch {}
          await addon.receive(peer).then(console.log, ({ errno, syscall }) => console.log(syscall, errno));
        })();`;
      const { stdout, stderr } = spawnSync(
        'bash',
        ['-c', 'ulimit -n 100; exec "$@"', 'bash', process.execPath, '-e', script, addonFile(), at],
        { encoding: 'utf8' },
      );
      expect({ stdout, stderr }).toEqual({ stdout: `recvmsg ${os.errno.EMFILE}\n`, stderr: '' });
    });

    test('the text is cut at 512 bytes', async () => {
      const at = socketPath();
      using _peer = await pythonPeer(
        at,
        'socket.send_fds(peer, [b"x" * 2000], [os.open("/dev/null", os.O_RDONLY)])',
      );
      const { descriptors, text } = await receiveMessage(addon, at, '', {});
      expect(text).toBe('x'.repeat(512));
      expect(descriptors).toHaveLength(1);
      await descriptors[0]!.close();
    });

    test('text in a message before that of the descriptor is the peer’s answer', async () => {
      const at = socketPath();
      // The peer waits for us to hang up before it would send the descriptor.
      using _peer = await pythonPeer(at, 'peer.send(b"one moment")');
      await expect(receiveHtab(at)).rejects.toThrow(
        `the message over ${at} has 0 descriptors and says "one moment"; the peer must send one HTAB descriptor with its first message`,
      );
    });

    test('the close of a descriptor that is refused waits for nobody', async () => {
      const at = socketPath();
      // A TCP socket that is full, and whose close waits 10 minutes for the other end to take what is in it.
      using _peer = await pythonPeer(
        at,
        `tcp = socket.socket(); tcp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
tcp.bind(("127.0.0.1", 0)); tcp.listen(1)
full = socket.socket(); full.connect(tcp.getsockname()); other = tcp.accept()[0]
full.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 600)); full.setblocking(False)
try:
  while True: full.send(b"x" * 65536)
except BlockingIOError: pass
socket.send_fds(peer, [b"ok 24"], [full.fileno()]); full.close()`,
      );
      const { descriptors } = await receiveMessage(addon, at, '', {});
      expect((await addon.inspectFile(descriptors[0]!)).name).toMatch(/^socket:/);
      const [full] = descriptors as [Descriptor];
      await full.close();
    });

    test.each([0, 1, 3])(
      'receiveHtab refuses %i descriptors that are no HTAB, and keeps none open',
      async (count) => {
        const at = socketPath();
        using _peer = await sendMany(at, count);
        const before = numbersOf('/dev/null').length;
        await expect(receiveHtab(at)).rejects.toMatchObject({
          code: 'ERR_HTAB_UNAVAILABLE',
          reason: 'unsupported',
        });
        // They are closed beside the answer.
        while (numbersOf('/dev/null').length > before) await setImmediate();
      },
    );
  });
});
