import type { JournalRecord } from '../../../lib/migration/journal/journal.js';

export const record = (migrationId: string, side: JournalRecord['side'] = 'destination'): JournalRecord => ({
  migrationId,
  side,
  order: 18,
  digest: 'ab'.repeat(32),
});
