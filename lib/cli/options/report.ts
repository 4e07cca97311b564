import { Option, type Command } from 'commander';

/** Gives a command `--json` and `--quiet`. */
export function addReportOptions(command: Command, json: string, quiet = 'print errors only'): Command {
  return command.addOption(new Option('--json', json).conflicts('quiet')).option('--quiet', quiet);
}

/** What `--json` prints for a command with one result. */
export const JSON_DOCUMENT = 'print the result as one JSON document, or a "failed" event';
