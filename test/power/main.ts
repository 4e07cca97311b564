// Runs every suite in this one process, on a kernel with KVM-HV.
import { readFileSync } from 'node:fs';
import { attachSuite } from './attach.js';
import { conformanceSuite } from './conformance.js';
import { descriptorsSuite } from './descriptors.js';
import { dirtyLogSuite } from './dirty-log.js';
import { fitSuite } from './fit.js';
import { goldenSuite } from './golden.js';
import { guestSuite } from './guest.js';
import { describeHost, hostSuite } from './host.js';
import { kernelBugsSuite } from './kernel-bugs.js';
import { largeTablesSuite } from './large-tables.js';
import { lifecycleSuite } from './lifecycle.js';
import { lockstepSuite } from './lockstep.js';
import { migrationSuite } from './migration.js';
import type { QemuSeries } from './qemu/qemu.js';
import { qemuSuite } from './qemu/suite.js';
import { Runner } from './runner.js';
import { snapshotSuite } from './snapshot.js';
import { soakSuite, type SoakSettings } from './soak.js';
import { speedSuite } from './speed.js';
import { wholeGuestSuite } from './whole-guest.js';

/** What the host side of the rig asks for. */
export interface PowerOptions {
  /** Only tests whose name matches this regular expression. */
  readonly filter: string;
  readonly seed: number;
  /** Length of the random programs, in operations. */
  readonly operations: number;
  /** Moves of a guest of two vcpus: of its table alone, and of the whole guest. */
  readonly moves: number;
  /** Migrations whose receiver is killed, and moves of a whole guest in which an agent is. */
  readonly kills: number;
  /** Instead of all tests, a soak (npm run soak). */
  readonly soak?: SoakSettings;
  /** Instead of all others, the tests with this QEMU. */
  readonly qemu?: QemuSeries;
  /** Whether to run what stops a kernel. */
  readonly mayCrash: boolean;
}

const options = JSON.parse(readFileSync('options.json', 'utf8')) as PowerOptions;
const host = describeHost();
const runner = new Runner(options.filter);
if (options.soak !== undefined) soakSuite(runner.suite('soak'), host, options.seed, options.soak);
else if (options.qemu !== undefined) qemuSuite(runner.suite('qemu'), options.qemu);
else addSuites();
process.exit((await runner.run()) ? 0 : 1);

function addSuites(): void {
  hostSuite(runner.suite('host'), host);
  conformanceSuite(runner.suite('conformance'), host);
  goldenSuite(runner.suite('golden'), host);
  guestSuite(runner.suite('guest'), options.moves);
  descriptorsSuite(runner.suite('guest'));
  attachSuite(runner.suite('attach'));
  dirtyLogSuite(runner.suite('dirty log'), host);
  lifecycleSuite(runner.suite('lifecycle'));
  largeTablesSuite(runner.suite('large tables'));
  fitSuite(runner.suite('fit'), host);
  snapshotSuite(runner.suite('snapshot'), host);
  lockstepSuite(runner.suite('lockstep'), host, options.seed, options.operations);
  speedSuite(runner.suite('speed'));
  migrationSuite(runner.suite('migration'), options.seed, options.kills);
  wholeGuestSuite(runner.suite('whole guest'), options);
  // Last, as one of them may leave no kernel behind.
  kernelBugsSuite(runner.suite('kernel bugs'), host, options.mayCrash);
}
