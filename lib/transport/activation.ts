import { invalidValueError } from '../base/arguments.js';

/** The first descriptor that systemd passes (sd_listen_fds(3)). */
const FIRST_FD = 3;

/**
 * The listening socket that systemd has passed to this process (sd_listen_fds(3)). Takes its variables out of the
 * environment: they are meant for no child of ours.
 *
 * @returns its descriptor number
 * @throws TypeError (`ERR_INVALID_ARG_VALUE`) unless there is exactly one
 */
export function inheritedSocket(environment: NodeJS.ProcessEnv = process.env): number {
  const { LISTEN_PID: pid, LISTEN_FDS: count } = environment;
  delete environment['LISTEN_PID'];
  delete environment['LISTEN_FDS'];
  delete environment['LISTEN_FDNAMES'];
  if (pid !== String(process.pid) || count === undefined) {
    throw invalidValueError(
      'systemd has passed no socket; start the service through its .socket unit',
      'address',
    );
  }
  if (count !== '1')
    throw invalidValueError(`systemd has passed ${count} sockets; give the service a single one`, 'address');
  return FIRST_FD;
}
