import { HtabSystemError, HtabUnavailableError, type UnavailableReason } from '../../errors.js';
import { checkCall } from '../base.js';
import type { Addon, Descriptor } from './addon.js';
import { attempt } from './failure.js';

export const DEFAULT_DEVICE = '/dev/kvm';

/** The only version of the KVM interface there is. */
export const API_VERSION = 12;

const REASONS: Readonly<Record<string, UnavailableReason>> = {
  ENOENT: 'no-device',
  ENODEV: 'no-device',
  ENXIO: 'no-device',
  EACCES: 'permission',
  EPERM: 'permission',
};

/**
 * Opens KVM's device; the descriptor is the caller's to close.
 *
 * @throws HtabUnavailableError `no-device`, `permission`, or `unsupported` where it speaks another version
 * @throws HtabSystemError what else stands in the way, such as EMFILE
 */
export async function openDevice(addon: Addon, path: string): Promise<Descriptor> {
  const kvm = await attempt(`open ${path}`, addon.openKvm(path)).catch((cause: unknown) => {
    throw asUnavailable(path, cause);
  });
  try {
    const version = checkCall(
      await addon.getApiVersion(kvm),
      'KVM_GET_API_VERSION',
      `ask ${path} its version`,
    );
    if (version === API_VERSION) return kvm;
    throw new HtabUnavailableError(
      'unsupported',
      `${path} speaks version ${version} of the KVM interface`,
      `version ${API_VERSION} is the only one there is: is this KVM?`,
    );
  } catch (error) {
    await kvm.close();
    throw error;
  }
}

/** A device that cannot be had, in the terms of a backend. */
function asUnavailable(path: string, cause: unknown): unknown {
  if (!(cause instanceof HtabSystemError)) return cause;
  const reason = REASONS[cause.errnoName];
  if (reason === undefined) return cause;
  const message = `${path} cannot be opened (${cause.errnoName})`;
  return new HtabUnavailableError(reason, message, cause.hint ?? 'see the cause', { cause });
}
