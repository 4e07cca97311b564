import { expect, test } from 'vitest';
import { openVm, type OpenVmOptions } from '../../lib/vm/open.js';

test.each([[{ backend: 'qemu' }], [{ backend: 'Emulated' }], [{}], ['emulated'], [undefined], [null]])(
  'openVm(%j) is refused with the names of the backends: no other stands in for the one that was meant',
  async (options) => {
    await expect(openVm(options as OpenVmOptions)).rejects.toMatchObject({
      name: 'TypeError',
      code:
        typeof options === 'object' && options !== null ? 'ERR_INVALID_ARG_VALUE' : 'ERR_INVALID_ARG_TYPE',
      message: expect.stringMatching(/kvm, emulated, image, auto/) as string,
    });
  },
);
