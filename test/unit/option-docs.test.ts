import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';

/** What a user of the package can set, and where it is declared. */
const OPTIONS: readonly (readonly [file: string, name: string])[] = [
  ['migration/options.ts', 'MigrationOptions'],
  ['migration/send-options.ts', 'SendOptions'],
  ['migration/receive-options.ts', 'ReceiveOptions'],
  ['migration/policy.ts', 'PrecopyLimits'],
  ['migration/endpoints.ts', 'SourceTable'],
  ['migration/endpoints.ts', 'TargetTable'],
  ['snapshot/save.ts', 'SaveOptions'],
  ['snapshot/load.ts', 'LoadOptions'],
  ['io/read-table.ts', 'ReadTableOptions'],
  ['io/reader.ts', 'HptReaderOptions'],
  ['io/write-stream.ts', 'WriteStreamOptions'],
  ['vm/contract.ts', 'OpenHtabOptions'],
  ['vm/emulated/emulated-vm.ts', 'EmulatedVmOptions'],
  ['vm/emulated/memory.ts', 'MemoryRegion'],
  ['vm/kvm/handover.ts', 'ForeignDescriptor'],
  ['vm/kvm/kvm-vm.ts', 'FromFdOptions'],
  ['vm/kvm/passing.ts', 'PassingOptions'],
];

/** A range, or the few values that there are. */
const RANGE = /\d\.\.|\d to \d|\d or \d|\d or more/;

test.each(OPTIONS)('every option in %s, %s, has a comment, and every number its range', (file, name) => {
  const source = readFileSync(path.resolve(import.meta.dirname, '../../lib', file), 'utf8');
  const [, body] = new RegExp(`^export interface ${name}\\b.*\\{\\n([^]*?)^\\}`, 'm').exec(source)!;
  const options = [
    ...body!.matchAll(/^((?: {2}\/\*\*(?:(?!\*\/)[^])*\*\/\n)?) {2}readonly (\w+)\??: ([^]*?);$/gm),
  ];
  expect(options.length).toBeGreaterThan(0);
  const lacking = options.filter(([, comment, , type]) => {
    const isNumber = /^number\b|^bigint\b/.test(type!);
    return comment === '' || (isNumber && !RANGE.test(comment!));
  });
  expect(lacking.map(([, , option]) => option)).toEqual([]);
});
