import { outOfRangeError } from '../base/arguments.js';
import type { FieldCheck } from '../frames/fields.js';

/** What an id may be, in words. */
export const MIGRATION_ID_VALUES = '1 to 64 letters, digits and hyphens';

/** Whether something can name a migration. */
export const isMigrationId: FieldCheck = (value) =>
  typeof value === 'string' && /^[\dA-Za-z-]{1,64}$/.test(value);

/** @throws RangeError for a text that cannot name a migration */
export function checkMigrationId(migrationId: string): void {
  if (!isMigrationId(migrationId)) {
    throw outOfRangeError('migrationId', MIGRATION_ID_VALUES, migrationId);
  }
}
