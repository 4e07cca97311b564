import { constants } from 'node:os';
import { describe, expect, test } from 'vitest';
import { HtabSystemError } from '../../lib/base/errors.js';
import { attempt, checkResult, systemError } from '../../lib/vm/call-result.js';
import { hintFor, hints } from '../../lib/vm/hints.js';

const { EBUSY, EIO, EXDEV } = constants.errno;

/** What a caller of an emulated kernel gets that answers minus this errno. */
const refused = (operation: string, syscall: string, errno: number): Promise<number> =>
  attempt(operation, () => checkResult(syscall, -errno));

test('a failed call carries errno, name, operation and hint', async () => {
  await expect(refused('allocate an HPT of order 24', 'KVM_PPC_ALLOCATE_HTAB', EBUSY)).rejects.toEqual(
    new HtabSystemError('KVM_PPC_ALLOCATE_HTAB', 'EBUSY', {
      operation: 'allocate an HPT of order 24',
      hint: hintFor('KVM_PPC_ALLOCATE_HTAB', 'EBUSY'),
    }),
  );
});

describe('the hint for a failed call', () => {
  test.each(Object.entries(hints))('%s', async (refusal, hint) => {
    const [call = '', name = ''] = refusal.split(' ');
    const errno = (constants.errno as Readonly<Record<string, number>>)[name]!;
    expect(errno).toBeGreaterThan(0);
    await expect(refused('try', call, errno)).rejects.toMatchObject({ errnoName: name, hint });
  });
});

test('an errno without a hint for its call has the hint for every call', () => {
  expect(hintFor('socket', 'EMFILE')).toContain('ulimit -n');
  expect(hintFor('KVM_CREATE_VM', 'EMFILE')).toBe(hintFor('socket', 'EMFILE'));
  expect(hintFor('recvmsg', 'EMFILE')).not.toBe(hintFor('socket', 'EMFILE'));
});

test('the hint for root that may not take a descriptor names what else can forbid it', () => {
  for (const cause of ['CAP_SYS_PTRACE', 'ptrace_scope', 'seccomp', 'container']) {
    expect(hintFor('pidfd_getfd', 'EPERM')).toContain(cause);
  }
});

test("a caller's own hint comes first, and a failure without any has none", async () => {
  expect(systemError('write', { syscall: 'write', errno: EIO }, 'mine').hint).toBe('mine');
  await expect(refused('write', 'write', EXDEV)).rejects.toThrow('write: write failed with EXDEV');
  expect(hintFor('write', 'EXDEV')).toBeUndefined();
});
