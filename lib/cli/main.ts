#!/usr/bin/env node
import { run } from './program.js';

// A reader that has seen enough (`kvm-htab ... | head`) is no failure of ours.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});

process.exitCode = await run(process.argv.slice(2), process);
