// Runs every suite in this one process, on a kernel with KVM-HV.
import { readFileSync } from 'node:fs';
import { conformanceSuite } from './conformance.js';
import { goldenSuite } from './golden.js';
import { guestSuite } from './guest.js';
import { describeHost, hostSuite } from './host.js';
import { largeTablesSuite } from './large-tables.js';
import { lifecycleSuite } from './lifecycle.js';
import { lockstepSuite } from './lockstep.js';
import { migrationSuite } from './migration.js';
import { Runner } from './runner.js';
import { snapshotSuite } from './snapshot.js';
import { speedSuite } from './speed.js';

/** What the host side of the rig asks for. */
export interface PowerOptions {
  /** Only tests whose name matches this regular expression. */
  readonly filter: string;
  readonly seed: number;
  /** Length of the random programs, in operations. */
  readonly operations: number;
  /** Migrations whose receiver is killed. */
  readonly kills: number;
}

const options = JSON.parse(readFileSync('options.json', 'utf8')) as PowerOptions;
const host = describeHost();
const runner = new Runner(options.filter);
hostSuite(runner.suite('host'), host);
conformanceSuite(runner.suite('conformance'), host);
goldenSuite(runner.suite('golden'), host);
guestSuite(runner.suite('guest'));
lifecycleSuite(runner.suite('lifecycle'));
largeTablesSuite(runner.suite('large tables'));
snapshotSuite(runner.suite('snapshot'), host);
lockstepSuite(runner.suite('lockstep'), host, options.seed, options.operations);
speedSuite(runner.suite('speed'));
migrationSuite(runner.suite('migration'), options.seed, options.kills);
process.exit((await runner.run()) ? 0 : 1);
