import { constants } from 'node:os';
import { expect, test } from 'vitest';
import { HtabSystemError } from '../../../lib/errors.js';
import { checkCall, systemError } from '../../../lib/vm/base.js';
import { hintFor } from '../../../lib/vm/hints.js';

const { EBUSY, EXDEV } = constants.errno;

test('a refusal carries errno, call, what was tried and what to do', () => {
  expect(() => checkCall(-EBUSY, 'KVM_PPC_ALLOCATE_HTAB', 'allocate an HPT of order 24')).toThrow(
    new HtabSystemError('KVM_PPC_ALLOCATE_HTAB', 'EBUSY', {
      operation: 'allocate an HPT of order 24',
      hint: 'a vcpu is inside KVM_RUN: pause the guest first; the table is unchanged',
    }),
  );
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
