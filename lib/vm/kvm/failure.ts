import { errnoName } from '../../errors.js';
import { systemError } from '../base.js';
import { isSystemCallFailure } from './addon.js';

/** Awaits a call of the addon; its failure becomes an error that says what was tried and what to do. */
export async function attempt<T>(operation: string, call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    if (!isSystemCallFailure(error)) throw error;
    throw systemError(error.syscall, errnoName(error.errno), { operation });
  }
}
