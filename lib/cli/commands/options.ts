import { Option, type Command } from 'commander';
import { MAX_MS } from '../../node/waiting.js';
import type { ReportOptions } from '../reporter.js';
import type { SecurityOptions } from '../transport/security.js';
import { integer, localPort } from './values.js';

/** Options of every command that talks to a peer. */
export interface PeerOptions extends SecurityOptions {
  readonly timeoutMs: number;
}

/** Options of both ends of a migration. */
export interface MigrationCommandOptions extends PeerOptions, ReportOptions {
  readonly reconnectMs: number;
  readonly journal?: string;
  readonly metrics?: { readonly host: string; readonly port: number };
}

export function addPeerOptions(command: Command): Command {
  return command
    .option('--cert <file>', "this host's certificate (PEM), for tls://")
    .option('--key <file>', 'its private key (PEM)')
    .option('--ca <file>', 'the authorities whose certificates the peer may have (PEM); no others count')
    .option(
      '--peer-name <name>',
      "name that the peer's certificate must carry (default: at send, HOST; at receive, any of --ca)",
    )
    .option('--insecure-plaintext', 'allow tcp:// beyond this machine: anybody between can change the guest')
    .option('--timeout-ms <ms>', 'longest silence of the peer', integer(100, MAX_MS), 30_000);
}

export function addMigrationOptions(command: Command): Command {
  return addPeerOptions(command)
    .option(
      '--reconnect-ms <ms>',
      'longest time without a connection, once there was one',
      integer(0, MAX_MS),
      60_000,
    )
    .option('--journal <file>', 'file that remembers decisions beyond this process; use one per host')
    .option('--metrics <[host:]port>', 'serve Prometheus metrics over HTTP; host 127.0.0.1', localPort)
    .addOption(new Option('--json', 'print events, one JSON object a line').conflicts('quiet'))
    .option('--quiet', 'print errors only');
}
