import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { requestDestinationRest, requestSourceRest } from '../../lib/migration/vmm-rest.js';
import { VmmSocket } from '../../lib/vm/kvm/vmm-socket.js';
import { receiveMessage } from '../../lib/vm/kvm/passing.js';
import { addonIfBuilt, scratchFolder } from './support.js';

/** Of the README's VMM, all but the kernel: its ioctls succeed, and an HTAB descriptor is one of /dev/zero. */
const NO_KERNEL = `
#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#ifndef __powerpc__
struct kvm_get_htab_fd { __u64 flags, start_index, reserved[2]; };
#endif
static inline int Ioctl(int fd, unsigned long request, ...) {
  (void)fd;
  return request == KVM_PPC_GET_HTAB_FD ? open("/dev/zero", O_RDONLY | O_CLOEXEC) : 0;
}
#define ioctl Ioctl
`;

/** Fewer than there are peers in a test. */
const MAX_DESCRIPTORS = 32;

const addon = addonIfBuilt();
const hasCompiler = spawnSync('cc', ['--version']).status === 0;

const CROSS_COMPILER = 'powerpc64le-linux-gnu-gcc';
const source = path.resolve(import.meta.dirname, '../power/vmm/handover.c');
const warnings = ['-Wall', '-Wextra', '-Werror'];

test("the README's VMM compiles for POWER without a warning", ({ skip }) => {
  skip(spawnSync(CROSS_COMPILER, ['--version']).status !== 0, `${CROSS_COMPILER} is not installed`);
  execFileSync(CROSS_COMPILER, [...warnings, '-O2', '-c', '-o', '/dev/null', source], { stdio: 'inherit' });
});

const missing =
  addon === undefined ? ' (the addon is not built)' : hasCompiler ? '' : ' (cc is not installed)';

describe.skipIf(missing !== '')(`the README's VMM${missing}`, () => {
  const folder = scratchFolder();
  const socketPath = path.join(folder, 'socket');
  const program = path.join(folder, 'handover');
  let stop: () => Promise<unknown>;

  beforeAll(async () => {
    const header = path.join(folder, 'no-kernel.h');
    writeFileSync(header, NO_KERNEL);
    const flags = [...warnings, '-pthread', '-include', header];
    execFileSync('cc', [...flags, '-o', program, source], { stdio: 'inherit' });
    const limited = `ulimit -n ${MAX_DESCRIPTORS}; exec "$0" "$@"`;
    const child = spawn('/bin/sh', ['-c', limited, program, socketPath], { stdio: 'inherit' });
    const exited = once(child, 'exit');
    stop = () => {
      child.kill();
      return exited;
    };
    // The socket's file is there some time before the program listens.
    const listens = (): Promise<boolean> =>
      dial().then(
        (socket) => socket.destroy().destroyed,
        () => false,
      );
    while (!(await listens())) await delay(5);
  });

  // By this signal, and nothing before it.
  afterAll(async () => {
    expect(await stop()).toEqual([null, 'SIGTERM']);
  });

  const descriptor = async (): Promise<string> => {
    const { descriptors, text } = await receiveMessage(addon!, socketPath, 'open-read\n', {});
    expect(descriptors.length).toBe(1);
    for (const each of descriptors) await each.close();
    return text;
  };

  async function dial(): Promise<Socket> {
    const socket = connect(socketPath);
    await once(socket, 'connect');
    // The VMM may be gone from it, with answers that nobody has read.
    return socket.on('error', () => undefined);
  }

  test('hands over a descriptor, a fresh one to everybody who asks, also while a command is connected', async () => {
    const control = await VmmSocket.open(socketPath, { timeoutMs: 5000 });
    await control.pause();
    expect(await descriptor()).toBe('ok 24\n');
    expect(await descriptor()).toBe('ok 24\n');
    await control.resume();
    await expect(control.throttle(1)).rejects.toThrow('refuses to throttle 1: "error no such request"');
    control.close();
  });

  test('moves the rest of a guest', async () => {
    const source = (await requestSourceRest(socketPath))!;
    const destination = (await requestDestinationRest(socketPath))!;
    const call = { signal: new AbortController().signal, migrationId: 'm-1', deadlineMs: 1000 };
    expect(await source.stopMs()).toBe(0);
    const state = (await source.finish(call))!;
    expect(state.length).toBe(34 * 8);
    await destination.accept(state, call);
    await destination.run();
    await destination.discard(new Error('too late'));
    await expect(destination.accept(state.subarray(1), call)).rejects.toThrow('not a state of this VMM');
  });

  test('ends an accept whose client goes before the state is there', async () => {
    const socket = await dial();
    let answer = '';
    socket.on('data', (chunk: Buffer) => (answer += chunk.toString()));
    socket.end('accept 272\nshort');
    await once(socket, 'close');
    expect(answer).toBe('error not a state of this VMM\n');
  });

  test('answers each of several requests on one connection, however they are cut', async () => {
    const socket = await dial();
    let answers = '';
    socket.on('data', (chunk: Buffer) => (answers += chunk.toString()));
    socket.write('pause\nresume\nwhat\npau');
    await once(socket, 'data');
    socket.write('se\n');
    while (answers.split('\n').length <= 4) await once(socket, 'data');
    expect(answers).toBe('ok\nok\nerror no such request\nok\n');
    socket.destroy();
  });

  test('drops whoever sends what is no request', async () => {
    const socket = await dial();
    socket.resume().write('x'.repeat(1000));
    await new Promise((resolve) => socket.once('close', resolve));
  });

  test('outlives more peers than it may have files open', async () => {
    const peers = await Promise.all(Array.from({ length: 2 * MAX_DESCRIPTORS }, dial));
    // Those beyond are connected by the kernel, and wait to be accepted.
    await delay(50);
    for (const peer of peers) peer.destroy();
    expect(await descriptor()).toBe('ok 24\n');
  });

  test('outlives a peer that goes without waiting for its answers', async () => {
    for (let peer = 0; peer < 20; peer++) {
      const socket = await dial();
      socket.write('open-read\n'.repeat(100));
      socket.destroySoon();
      socket.resume();
    }
    expect(await descriptor()).toBe('ok 24\n');
  });
});
