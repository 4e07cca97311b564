import { bothErrors } from '../../base/both-errors.js';
import { HtabUnavailableError } from '../../base/errors.js';
import { fieldsOf, textOf } from '../fields.js';
import type { QmpConnection } from './connection.js';

/** What a user may have switched on that a stream to this process can do with. */
const KEPT: ReadonlySet<string> = new Set([
  'events',
  'auto-converge',
  'validate-uuid',
  'late-block-activate',
]);
const RETURN_PATH = 'return-path';
const IGNORE_SHARED = 'x-ignore-shared';
/** Bytes per second: no limit for a stream that does not leave this machine, which a slow one would keep from its end. */
const NO_LIMIT = 2 ** 40;

/** The memory of a guest, in bytes. */
export interface GuestMemory {
  readonly bytes: number;
  /** Part of it that is shared, and stays out of a stream. */
  readonly sharedBytes: number;
}

/** Settings of QEMU's that were changed for one migration. */
export interface MigrationSettings {
  readonly memory: GuestMemory;
  /**
   * Sets everything back.
   *
   * @param error a failure before, which the returned error names too
   * @returns why QEMU did not take all of it; undefined once it has
   */
  restore(error?: unknown): Promise<HtabUnavailableError | undefined>;
}

/** Settings by name, as `migrate-set-parameters` takes them, or capabilities. */
type Named<Value> = Readonly<Record<string, Value>>;

/**
 * Sets QEMU up for a migration that is read and thrown away.
 *
 * @throws HtabUnavailableError `unsupported` for a QEMU that does not wait for its destination's word
 */
export async function prepareMigration(qmp: QmpConnection): Promise<MigrationSettings> {
  const memory = await memoryOf(qmp);
  const capabilities = await capabilitiesOf(qmp);
  if (capabilities[RETURN_PATH] === undefined) {
    throw new HtabUnavailableError(
      'unsupported',
      `the QEMU at ${qmp.path} has no return path, by which it would learn that its migration is thrown away`,
      'it needs QEMU 2.5 or later',
    );
  }
  const parameters = fieldsOf(await qmp.execute('query-migrate-parameters'));
  const before = { capabilities: differing(capabilities, memory), parameters: changedParameters(parameters) };
  /** A setting that is refused does not keep the others back. */
  const settled = async (
    calls: Promise<void>[],
    error?: unknown,
  ): Promise<HtabUnavailableError | undefined> => {
    const failed = (await Promise.allSettled(calls)).find((call) => call.status === 'rejected');
    if (failed === undefined) return undefined;
    const cause: unknown = error === undefined ? failed.reason : bothErrors(error, failed.reason);
    return notRestoredError(qmp, before, cause);
  };
  const capabilitiesBack = (): Promise<void> => setCapabilities(qmp, before.capabilities);
  const changed = Object.entries(before.capabilities).map(([name, state]) => [name, !state] as const);
  // Each of the two calls is refused as a whole: then it has changed nothing.
  await setCapabilities(qmp, Object.fromEntries(changed));
  try {
    const noTls = before.parameters['tls-creds'] === undefined ? {} : { 'tls-creds': '' };
    await setParameters(qmp, { 'max-bandwidth': NO_LIMIT, ...noTls });
  } catch (error) {
    throw (await settled([capabilitiesBack()], error)) ?? error;
  }
  const restore: MigrationSettings['restore'] = (error) =>
    settled([capabilitiesBack(), setParameters(qmp, before.parameters)], error);
  return { memory, restore };
}

async function memoryOf(qmp: QmpConnection): Promise<GuestMemory> {
  const backends = listOf(await qmp.execute('query-memdev'));
  const bytesOf = (some: typeof backends): number =>
    some.reduce((sum, { size }) => sum + (Number(size) || 0), 0);
  const shared = backends.filter(({ share }) => share === true);
  return { bytes: bytesOf(backends), sharedBytes: bytesOf(shared) };
}

async function capabilitiesOf(qmp: QmpConnection): Promise<Named<boolean>> {
  const list = listOf(await qmp.execute('query-migrate-capabilities'));
  return Object.fromEntries(list.map(({ capability, state }) => [textOf(capability), state === true]));
}

/** The capabilities that have to be changed, as they are. */
function differing(capabilities: Named<boolean>, { sharedBytes }: GuestMemory): Named<boolean> {
  const wanted = { [RETURN_PATH]: true, [IGNORE_SHARED]: sharedBytes > 0 } as Named<boolean>;
  return Object.fromEntries(
    Object.entries(capabilities).filter(
      ([name, state]) => !KEPT.has(name) && state !== (wanted[name] ?? false),
    ),
  );
}

/** The parameters that are changed, as they are. */
function changedParameters(parameters: Named<unknown>): Named<unknown> {
  const { 'max-bandwidth': bandwidth, 'tls-creds': credentials } = parameters;
  return {
    'max-bandwidth': bandwidth,
    ...(textOf(credentials) !== '' && { 'tls-creds': credentials }),
  };
}

function notRestoredError(
  { path }: QmpConnection,
  before: { readonly capabilities: Named<boolean>; readonly parameters: Named<unknown> },
  cause: unknown,
): HtabUnavailableError {
  const settings = JSON.stringify({ ...before.capabilities, ...before.parameters });
  return new HtabUnavailableError(
    'refused',
    `the QEMU at ${path} did not take its migration settings back: ${settings}`,
    'set them by migrate-set-capabilities and migrate-set-parameters once no migration runs',
    { cause },
  );
}

async function setParameters(qmp: QmpConnection, parameters: Named<unknown>): Promise<void> {
  await qmp.execute('migrate-set-parameters', parameters);
}

async function setCapabilities(qmp: QmpConnection, states: Named<boolean>): Promise<void> {
  const capabilities = Object.entries(states).map(([capability, state]) => ({ capability, state }));
  if (capabilities.length > 0) await qmp.execute('migrate-set-capabilities', { capabilities });
}

function listOf(value: unknown): Named<unknown>[] {
  return Array.isArray(value) ? value.map(fieldsOf) : [];
}
