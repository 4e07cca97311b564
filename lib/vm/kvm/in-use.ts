import { HtabStateError } from '../../base/errors.js';

/**
 * Something else reads the table: most likely the VMM migrates its guest. Both take marks of change from each other.
 *
 * @param sign what showed it, with its numbers
 * @param begun whether a read of ours may have taken marks by then
 */
export function inUseError(sign: string, begun: boolean): HtabStateError {
  return new HtabStateError(
    'in-use',
    begun
      ? `${sign}: a migration of the guest has begun, and may lack entries that were read or written here. Cancel it (migrate_cancel, ` +
          'virsh domjobabort) before its destination runs, or end the destination; then migrate again. Nothing more is read or written'
      : `${sign}: the VMM migrates its guest, or another program reads the table. Reading it here too would leave the ` +
          'destination without entries: wait until that has ended, or cancel it, and begin again',
  );
}
