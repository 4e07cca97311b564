import { HtabSystemError, HtabUnavailableError, errnoName } from '../../errors.js';
import { systemError } from '../base.js';
import { type Descriptor, isSystemCallFailure } from './addon.js';

/** Awaits a call of the addon; its failure becomes an error that says what was tried and what to do. */
export async function attempt<T>(operation: string, call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    if (!isSystemCallFailure(error)) throw error;
    throw systemError(error.syscall, errnoName(error.errno), { operation });
  }
}

/** Awaits the opening of the device; where it is not to be had, the error says so in the terms of a backend. */
export async function openDevice(path: string, call: Promise<Descriptor>): Promise<Descriptor> {
  try {
    return await attempt(`open ${path}`, call);
  } catch (cause) {
    if (!(cause instanceof HtabSystemError)) throw cause;
    const denied = cause.errnoName === 'EACCES' || cause.errnoName === 'EPERM';
    throw new HtabUnavailableError(
      denied ? 'permission' : 'no-device',
      `${path} cannot be opened (${cause.errnoName})`,
      cause.hint ?? 'see the cause',
      { cause },
    );
  }
}
