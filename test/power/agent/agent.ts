// The agent of one host, `source` or `destination`: moves the guest of the VMM here to the agent of the other host, or takes
// one from there. What it does it tells in lines of JSON.
import { writeSync } from 'node:fs';
import { isInDoubt } from '../../../lib/migration/errors.js';
import { channels } from '../../../lib/migration/events.js';
import { receive, send, type AgentSettings, type Tell } from './moves.js';

/** Exit statuses beside 0: the guest is here, or has come. */
const FAILED = 1;
const IN_DOUBT = 4;

const tell: Tell = (event) => writeSync(1, `${JSON.stringify(event)}\n`);

channels.state.subscribe(({ state }) => tell({ event: 'state', state }));
const [side, text = ''] = process.argv.slice(2);
const settings = JSON.parse(text) as AgentSettings;
try {
  await (side === 'source' ? send(settings, tell) : receive(settings, tell));
  process.exit(0);
} catch (error) {
  console.error(error);
  process.exit(isInDoubt(error) ? IN_DOUBT : FAILED);
}
