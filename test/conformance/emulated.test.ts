import type { Capability } from '../../lib/testing/conformance/context.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import { emulatedGuest } from './emulated-guest.js';
import { describeConformance } from './suite.js';

const every: readonly Capability[] = [
  'lock-bit',
  'resize',
  'crash-guard',
  'bounded-write',
  'vcpu',
  'running',
];

describeConformance({
  name: 'emulated POWER8',
  capabilities: [...every, 'power8'],
  createVm: () => new EmulatedVm({ host: 'power8' }),
  guestOf: emulatedGuest,
});

describeConformance({
  name: 'emulated POWER9',
  capabilities: [...every, 'power9', 'radix'],
  createVm: () => new EmulatedVm({ host: 'power9' }),
  guestOf: emulatedGuest,
});

describeConformance({
  name: 'emulated POWER9 with 4K host pages',
  capabilities: [...every, 'power9', 'radix'],
  createVm: () => new EmulatedVm({ host: 'power9', pageShift: 12 }),
  guestOf: emulatedGuest,
});
