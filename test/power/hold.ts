// Loaded before a command, by --import: keeps a sender back, once it is loaded, until there is a line on its standard
// input. It takes seconds to start here, as does the receiver that must listen first: so both can start at once.
import { readSync, writeSync } from 'node:fs';
import '../../lib/cli/send/run.js';
import '../../lib/cli/program.js';

// By their numbers: process.stdin would make its descriptor one that does not wait.
writeSync(1, `${JSON.stringify({ event: 'held' })}\n`);
readSync(0, new Uint8Array(1));
