import { constants } from 'node:os';
import { describe, expect, test } from 'vitest';
import { HtabSystemError } from '../../../lib/errors.js';
import { checkCall, systemError } from '../../../lib/vm/base.js';
import { hintFor, hints } from '../../../lib/vm/hints.js';

const { EBUSY, EXDEV } = constants.errno;

test('a refusal carries errno, call, what was tried and what to do', () => {
  expect(() => checkCall(-EBUSY, 'KVM_PPC_ALLOCATE_HTAB', 'allocate an HPT of order 24')).toThrow(
    new HtabSystemError('KVM_PPC_ALLOCATE_HTAB', 'EBUSY', {
      operation: 'allocate an HPT of order 24',
      hint: 'a vcpu is inside KVM_RUN: pause the guest first; the table is unchanged',
    }),
  );
});

describe('every hint is found by the number that the kernel answers', () => {
  test.each(Object.entries(hints))('%s', (refusal, hint) => {
    const [call = '', name = ''] = refusal.split(' ');
    const errno = (constants.errno as Readonly<Record<string, number>>)[name]!;
    expect(errno).toBeGreaterThan(0);
    expect(() => checkCall(-errno, call, 'try')).toThrow(
      expect.objectContaining({ errnoName: name, hint }) as Error,
    );
  });
});

test('what stands behind an errno of any call is said where the call has nothing of its own', () => {
  expect(hintFor('socket', 'EMFILE')).toContain('ulimit -n');
  expect(hintFor('KVM_CREATE_VM', 'EMFILE')).toBe(hintFor('socket', 'EMFILE'));
  expect(hintFor('recvmsg', 'EMFILE')).not.toBe(hintFor('socket', 'EMFILE'));
});

test('root that may not take a descriptor learns what else can forbid it', () => {
  for (const cause of ['CAP_SYS_PTRACE', 'ptrace_scope', 'seccomp', 'container']) {
    expect(hintFor('pidfd_getfd', 'EPERM')).toContain(cause);
  }
});

test('who knows better may say so, and who knows nothing says nothing', () => {
  expect(systemError('write', 'EIO', { operation: 'write', hint: 'mine' }).hint).toBe('mine');
  expect(() => checkCall(-EXDEV, 'write', 'write')).toThrow('write: write failed with EXDEV');
  expect(hintFor('write', 'EXDEV')).toBeUndefined();
});
