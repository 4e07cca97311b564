import type { Command } from 'commander';
import { MIGRATION_OPTIONS } from '../../migration/options.js';
import { SECURITY_OPTIONS } from '../../transport/options.js';
import type { SecurityOptions } from '../../transport/security.js';
import type { ReportOptions } from '../report/event-reporter.js';
import { LibraryOption } from './library-option.js';
import { addReportOptions } from './report.js';
import { localPort } from './values.js';

/** Options of every command that talks to a peer. */
export interface PeerOptions extends SecurityOptions {
  readonly timeoutMs: number;
}

/** Options of a command that serves metrics while it runs. */
export interface MetricsOptions {
  readonly metrics?: { readonly host: string; readonly port: number };
}

/** Options of both ends of a migration. */
export interface MigrationCommandOptions extends PeerOptions, MetricsOptions, ReportOptions {
  readonly reconnectMs: number;
  readonly journal?: string;
}

export function addPeerOptions(command: Command): Command {
  return command
    .addOption(new LibraryOption('--cert <file>', SECURITY_OPTIONS.cert))
    .addOption(new LibraryOption('--key <file>', SECURITY_OPTIONS.key))
    .addOption(new LibraryOption('--ca <file>', SECURITY_OPTIONS.ca))
    .addOption(new LibraryOption('--peer-name <name>', SECURITY_OPTIONS.peerName))
    .addOption(new LibraryOption('--insecure-plaintext', SECURITY_OPTIONS.insecurePlaintext))
    .addOption(new LibraryOption('--timeout-ms <ms>', MIGRATION_OPTIONS.timeoutMs));
}

export function addMigrationOptions(command: Command): Command {
  addPeerOptions(command)
    .addOption(new LibraryOption('--reconnect-ms <ms>', MIGRATION_OPTIONS.reconnectMs))
    .option('--journal <file>', 'file that keeps decisions beyond this process; use one per host');
  return addEventOptions(command);
}

/** Gives a command that runs for a while `--metrics`, and `--json` with events. */
export function addEventOptions(command: Command): Command {
  command.option(
    '--metrics <[host:]port>',
    'serve Prometheus metrics over HTTP; default host 127.0.0.1',
    localPort,
  );
  return addReportOptions(command, 'print events, one JSON object per line');
}
