import { HtabError, HtabStateError } from '../../base/errors.js';
import { foreignText } from '../../base/foreign-text.js';
import { fieldsOf, textOf } from '../fields.js';
import type { QmpConnection } from './connection.js';

/** States in which no vcpu runs, nor will by itself, of a guest that is here and whole. */
const STANDING: ReadonlySet<string> = new Set(['paused', 'prelaunch']);

/** States in which a guest has failed, or is another QEMU's by now, and why it is neither moved nor let run. */
const BROKEN: Readonly<Record<string, string>> = {
  postmigrate: 'it has been migrated, and may run elsewhere',
  shutdown: 'it has shut down',
  'internal-error': 'it has failed in QEMU or KVM',
  'io-error': 'a disk of it has failed',
  watchdog: 'its watchdog has stopped it',
  'guest-panicked': 'its kernel has crashed',
  debug: 'a debugger has stopped it',
};

/** States that end by themselves: the guest's table may change in them. */
const CHANGING: Readonly<Record<string, string>> = {
  inmigrate: 'it is being migrated to this QEMU',
  'finish-migrate': 'it is being migrated away',
  'restore-vm': 'it is being restored',
  'save-vm': 'it is being saved',
  suspended: 'it sleeps, and may wake at any time',
  colo: 'it is replicated (COLO)',
  preconfig: 'its machine has not been made',
};

/** The state that QEMU says its guest is in, as `running`. */
export async function runStateOf(qmp: QmpConnection): Promise<string> {
  return foreignText(textOf(fieldsOf(await qmp.execute('query-status'))['status']));
}

/** Whether no vcpu runs in this state, nor will before someone lets it, and the guest can be moved. */
export function stands(state: string): boolean {
  return STANDING.has(state);
}

/** Whether the guest may run at the destination of a migration: it must not be let run here. */
export function mayRunElsewhere(state: string): boolean {
  return state === 'postmigrate' || state === 'finish-migrate' || state === 'colo';
}

/** An error for a guest that may run elsewhere. */
export function elsewhereError({ path }: QmpConnection, state: string, cause?: unknown): HtabError {
  return new HtabError(
    'ERR_HTAB_IN_DOUBT',
    `the QEMU at ${path} says ${state}: another client has migrated the guest, which may run elsewhere. Let it run here, ` +
      'by cont, only once you know that it runs nowhere else',
    { cause },
  );
}

/** An error for a guest in a state in which nothing of it may be done. */
export function stateError(doing: string, state: string): HtabStateError {
  const known = { ...BROKEN, ...CHANGING };
  const why = Object.hasOwn(known, state) ? `: ${known[state]!}` : '';
  return new HtabStateError('busy', `the guest is not ${doing}: QEMU says ${state || 'nothing'}${why}`);
}
