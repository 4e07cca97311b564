import { describe, expect, test } from 'vitest';
import { FaultScript, Gate, type Fault } from '../../lib/testing/faults.js';
import { encode, record, run } from '../../lib/testing/conformance/stream.js';
import { resizeTable } from '../../lib/testing/resize.js';
import { tableOf, read, put, failure } from './faulty-tables.js';

describe('errno', () => {
  test('the n-th call is refused, counted over all handles of the script, and the next one is not', async () => {
    const script = new FaultScript([{ kind: 'errno', call: 'read', nth: 3, errno: 'EFAULT' }]);
    const vm = script.wrapVm(await tableOf(18));
    const a = await vm.openHtab();
    const b = await vm.openHtab();
    expect(await read(a)).toEqual(['{0,0,16384}']);
    expect(await read(a)).toEqual([]);
    await expect(read(b)).rejects.toMatchObject(failure('EFAULT', 'read'));
    expect(await read(b)).toEqual(['{0,0,16384}']);
    expect(script.calls('read')).toBe(4);
    expect(script.struck).toMatchObject([{ call: 'read', callNumber: 3, fault: { errno: 'EFAULT' } }]);
  });

  test('times strikes that many calls in a row', async () => {
    const script = new FaultScript([{ kind: 'errno', call: 'write', errno: 'EBUSY', nth: 2, times: 2 }]);
    const vm = await tableOf(18);
    const writer = await script.wrapVm(vm).openHtab({ access: 'write' });
    const bytes = encode(run(5, 1));
    const results = await Promise.allSettled([1, 2, 3, 4].map(() => writer.write(bytes)));
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected', 'fulfilled']);
  });

  test('a read that is applied and refused loses its changes, as one whose buffer faults does (2.4)', async () => {
    const script = new FaultScript([{ kind: 'errno', call: 'read', nth: 3, errno: 'EFAULT', applied: true }]);
    const vm = await tableOf(18);
    const reader = await script.wrapVm(vm).openHtab();
    await read(reader);
    await read(reader);
    await put(vm, run(7, 1));
    await expect(read(reader)).rejects.toMatchObject(failure('EFAULT', 'read'));
    expect(await read(reader)).toEqual([]);
  });

  test('every call of a VM can be refused, under its own name', async () => {
    const script = new FaultScript([
      { kind: 'errno', call: 'openHtab', errno: 'EMFILE' },
      { kind: 'errno', call: 'allocateHpt', errno: 'ENOMEM' },
      { kind: 'errno', call: 'prepareHptResize', errno: 'ENOMEM' },
      { kind: 'errno', call: 'commitHptResize', errno: 'EBUSY' },
    ]);
    const vm = script.wrapVm(await tableOf(18));
    await expect(vm.openHtab()).rejects.toMatchObject(failure('EMFILE', 'KVM_PPC_GET_HTAB_FD'));
    await expect(vm.allocateHpt(19)).rejects.toMatchObject(failure('ENOMEM', 'KVM_PPC_ALLOCATE_HTAB'));
    await expect(vm.prepareHptResize(19)).rejects.toMatchObject(
      failure('ENOMEM', 'KVM_PPC_RESIZE_HPT_PREPARE'),
    );
    await expect(vm.commitHptResize(19)).rejects.toMatchObject(failure('EBUSY', 'KVM_PPC_RESIZE_HPT_COMMIT'));
    expect(vm.hptOrder).toBe(18);
    await vm.allocateHpt(19);
    expect(vm.hptOrder).toBe(19);
    expect(script.struck).toHaveLength(4);
  });

  test('each record of writeRecords counts as a write, and the error says which was refused', async () => {
    const script = new FaultScript([{ kind: 'errno', call: 'write', nth: 3, errno: 'EBUSY' }]);
    const vm = await tableOf(18);
    const writer = await script.wrapVm(vm).openHtab({ access: 'write' });
    await expect(writer.writeRecords(encode(run(0, 2), run(5, 1), run(8, 1)))).rejects.toMatchObject({
      ...failure('EBUSY', 'write'),
      recordIndex: 2,
      bytesApplied: 64,
      ptex: 8,
    });
    expect(await read(await vm.openHtab())).toEqual(['{0,2,3} 41:190 x2', '{5,1,16378} 41:190']);
  });
});

describe('answer and short', () => {
  test('a call can answer a number and do nothing', async () => {
    const script = new FaultScript([
      { kind: 'answer', call: 'read', result: 0 },
      { kind: 'answer', call: 'prepareHptResize', result: 100, times: 3 },
    ]);
    const vm = script.wrapVm(await tableOf(18));
    const reader = await vm.openHtab();
    expect(await read(reader)).toEqual([]);
    expect(await read(reader)).toEqual(['{0,0,16384}']);
    const answers = [
      await vm.prepareHptResize(19),
      await vm.prepareHptResize(19),
      await vm.prepareHptResize(19),
    ];
    expect(answers).toEqual([100, 100, 100]);
  });

  test('a short read brings fewer whole records, and the rest comes later', async () => {
    const script = new FaultScript([{ kind: 'short', call: 'read', maxBytes: 60 }]);
    const vm = await tableOf(18);
    await put(vm, run(0, 5));
    const reader = await script.wrapVm(vm).openHtab();
    expect(await read(reader)).toEqual(['{0,3,0} 41:190 x3']);
    expect(await read(reader)).toEqual(['{3,2,16379} 41:190 x2']);
  });

  test('a short write inside writeRecords is a failure', async () => {
    const script = new FaultScript([{ kind: 'short', call: 'write', nth: 2, maxBytes: 8 }]);
    const vm = await tableOf(18);
    const writer = await script.wrapVm(vm).openHtab({ access: 'write' });
    await expect(writer.writeRecords(encode(run(0, 1), run(1, 1)))).rejects.toMatchObject({
      code: 'ERR_HTAB_STATE',
    });
    expect(await read(await vm.openHtab())).toEqual(['{0,1,16383} 41:190']);
  });
});

describe('entry', () => {
  test('a write is refused at the entry; those before it are applied', async () => {
    const script = new FaultScript([{ kind: 'entry', entry: 12, errno: 'EINVAL' }]);
    const vm = await tableOf(18);
    await put(vm, run(12, 1));
    const writer = await script.wrapVm(vm).openHtab({ access: 'write' });
    const bytes = encode(run(10, 4, 0, [0x11n, 0x190n]));
    await expect(writer.write(bytes)).rejects.toMatchObject(failure('EINVAL', 'write'));
    await expect(writer.write(bytes)).rejects.toMatchObject(failure('EINVAL', 'write'));
    expect(await read(await vm.openHtab())).toEqual(['{0,0,10}', '{10,3,16371} 51:190 x2 41:190']);
    expect(await writer.write(encode(run(11, 1, 1)))).toBe(24);
  });

  test('EIO removes what the entry held (4.2), and the fault can wear off', async () => {
    const script = new FaultScript([{ kind: 'entry', entry: 12, errno: 'EIO', times: 1 }]);
    const vm = await tableOf(18);
    await put(vm, run(12, 1));
    const writer = await script.wrapVm(vm).openHtab({ access: 'write' });
    await expect(writer.writeRecords(encode(run(2, 1), run(12, 1)))).rejects.toMatchObject({
      ...failure('EIO', 'write'),
      recordIndex: 1,
      bytesApplied: 24,
    });
    expect(await read(await vm.openHtab())).toEqual(['{0,0,2}', '{2,1,16381} 41:190']);
    expect(await writer.write(encode(run(12, 1)))).toBe(24);
  });
});

describe('hold and run', () => {
  test('a held read waits for its gate, and close waits for the read', async () => {
    const gate = new Gate();
    const script = new FaultScript([{ kind: 'hold', call: 'read', gate }]);
    const vm = await tableOf(18);
    const reader = await script.wrapVm(vm).openHtab();
    const events: string[] = [];
    const reading = read(reader).then((lines) => events.push(...lines));
    const closing = reader.close().then(() => events.push('closed'));
    await gate.reached;
    // The table goes on living while the read is held: what it brings is what stands there at the end.
    await put(vm, run(0, 1));
    expect(events).toEqual([]);
    gate.release();
    await Promise.all([reading, closing]);
    expect(events).toEqual(['{0,1,16383} 41:190', 'closed']);
  });

  test('a resize strikes in the middle of a pass: the cursor stays, the table is another', async () => {
    const vm = await tableOf(18);
    await put(
      vm,
      run(40, 1, 0, [0x11n, 0x190n]),
      run(8, 1),
      record(16_383, [[0x4001_ffff_ff00_0001n, 0x190n]]),
    );
    const script = new FaultScript([
      { kind: 'run', call: 'read', nth: 2, action: () => resizeTable(vm, 19) },
    ]);
    const wrapped = script.wrapVm(vm);
    const reader = await wrapped.openHtab();
    expect(await read(reader, 25)).toEqual(['{0,0,8}']);
    expect(wrapped.hptOrder).toBe(18);
    expect(await read(reader)).toEqual(['{8,0,32}', '{40,1,32727} 51:190']);
    expect(wrapped.hptOrder).toBe(19);
  });

  test('faults of one call strike in the order of the script', async () => {
    const gate = new Gate();
    const events: string[] = [];
    const script = new FaultScript([
      { kind: 'run', call: 'read', action: () => void events.push('before') },
      { kind: 'hold', call: 'read', gate },
      { kind: 'run', call: 'read', action: () => void events.push('after') },
      { kind: 'errno', call: 'read', errno: 'EIO' },
    ]);
    const reader = script.wrapHandle(await (await tableOf(18)).openHtab());
    const reading = read(reader);
    await gate.reached;
    expect(events).toEqual(['before']);
    gate.release();
    await expect(reading).rejects.toMatchObject(failure('EIO', 'read'));
    expect(events).toEqual(['before', 'after']);
  });
});

describe('a fault that could never strike', () => {
  test.each([
    ['call', { kind: 'errno', call: 'raed', errno: 'EIO' }],
    ['kind', { kind: 'errnos', call: 'read', errno: 'EIO' }],
    ['errno', { kind: 'errno', call: 'read', errno: 'EOI' }],
    ['errno', { kind: 'entry', entry: 3, errno: 'EOI' }],
  ])('is refused when the script is made: its %s', (field, fault) => {
    expect(() => new FaultScript([fault as Fault])).toThrow(
      expect.objectContaining({
        name: 'TypeError',
        code: 'ERR_INVALID_ARG_VALUE',
        message: expect.stringContaining(`"fault.${field}"`) as string,
      }),
    );
  });

  test('and calls of such a name are not counted as none', () => {
    expect(() => new FaultScript().calls('raed' as 'read')).toThrow(TypeError);
  });
});
