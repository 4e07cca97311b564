import { HtabSystemError, HtabUnavailableError, type UnavailableReason } from '../../base/errors.js';
import { attempt } from '../call-result.js';
import { type Addon, type Descriptor, discard } from './addon.js';

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
 * Why this machine has no hashed tables whatever its device and addon are, if that is so: loading modules would not help.
 *
 * @param cause what else stands in the way
 */
export function wrongArchitecture(cause?: unknown): HtabUnavailableError | undefined {
  if (process.platform !== 'linux' || process.arch !== 'x64') return undefined;
  const hint = 'use the emulated backend, or a POWER host';
  return new HtabUnavailableError('arch', 'no x64 KVM has hashed page tables', hint, { cause });
}

/**
 * Opens KVM's device; the descriptor is the caller's to close.
 *
 * @throws HtabUnavailableError `no-device`, `permission`, or `unsupported` where it speaks another version
 * @throws HtabSystemError what else stands in the way, such as EMFILE
 */
export async function openDevice(addon: Addon, path: string): Promise<Descriptor> {
  const kvm = await attempt(`open ${path}`, () => addon.openKvm(path)).catch((cause: unknown) => {
    throw asUnavailable(path, cause);
  });
  try {
    const version = await attempt(`ask ${path} its version`, () => addon.getApiVersion(kvm));
    if (version === API_VERSION) return kvm;
    throw new HtabUnavailableError(
      'unsupported',
      `${path} speaks version ${version} of the KVM interface`,
      `version ${API_VERSION} is the only one there is: is this KVM?`,
    );
  } catch (error) {
    await discard(kvm);
    throw error;
  }
}

/** Why the device cannot be opened, as the error of a backend. */
function asUnavailable(path: string, cause: unknown): unknown {
  if (!(cause instanceof HtabSystemError)) return cause;
  const reason = REASONS[cause.errnoName];
  if (reason === undefined) return cause;
  const message = `cannot open ${path} (${cause.errnoName})`;
  return new HtabUnavailableError(reason, message, cause.hint ?? 'see the cause', { cause });
}
