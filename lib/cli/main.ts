#!/usr/bin/env node
// An older Node fails on the imports of the rest, and says nothing that helps: nothing else is imported before this.
import { tooOld } from './node-version.js';

const problem = tooOld(process.versions.node);
if (problem === undefined) {
  const { command } = await import('./process.js');
  await command(process.argv.slice(2));
} else {
  process.stderr.write(`kvm-htab: ${problem}\n`);
  // What the command needs is not on this machine: EXIT_CODES.unavailable, whose module this Node may not parse.
  process.exitCode = 3;
}
