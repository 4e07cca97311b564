import { HtabFormatError, type HtabError } from '../../base/errors.js';
import type { QemuFindingKind } from '../stream/findings.js';
import { HTAB_SECTION } from '../stream/layout.js';
import type { QemuStreamParser } from '../stream/parser.js';
import { migrationError } from '../../migration/errors.js';

/** What cannot become right again, wherever in the stream it is found. */
const LOST: ReadonlySet<QemuFindingKind> = new Set<QemuFindingKind>([
  'resized',
  'announced-again',
  'out-of-range',
  'index-wraps',
  'late-table',
]);

const ALL_ON_ONE_CONNECTION = 'the relay must see all of the migration on one connection';

/** @throws HtabError for what a relay does not pass on, as soon as it shows */
export function refuseWhatShows(parser: QemuStreamParser): void {
  const { findings, ram, commands } = parser;
  if (findings.size > 0) {
    const lost = findings.list.find(({ kind }) => LOST.has(kind));
    if (lost !== undefined) throw tableRefusal(parser, lost.message, lost);
  }
  if (commands.has('postcopy-advise'))
    throw switchOff('postcopy-ram', 'the guest would run before it is whole');
  if (ram?.multifd === true) throw switchOff('multifd', ALL_ON_ONE_CONNECTION);
  if (ram !== undefined && ram.compressedPages > 0) {
    throw switchOff('compress', 'the relay does not read compressed memory');
  }
}

/** A capability of the source that the relay cannot do with. */
export function switchOff(capability: string, reason: string): HtabError {
  return migrationError(
    `the source migrates with ${capability}: ${reason}; switch it off (migrate_set_capability ${capability} off) and migrate again`,
  );
}

/** The table is not one that a guest can run on. */
export function tableRefusal(
  { offset, htabCounts }: QemuStreamParser,
  reason: string,
  { byteOffset = offset, ptex }: { readonly byteOffset?: number; readonly ptex?: number } = {},
): HtabFormatError {
  return new HtabFormatError(reason, {
    ...{ byteOffset, ptex, recordIndex: htabCounts.records, section: HTAB_SECTION },
  });
}
