// All cases, in the order in which they are measured.
import { descriptors } from './descriptors.mjs';
import { hypercalls } from './hypercalls.mjs';
import { inspect } from './inspect.mjs';
import { large } from './large.mjs';
import { migration } from './migration.mjs';
import { passes } from './passes.mjs';
import { reader } from './reader.mjs';
import { records } from './records.mjs';
import { relay } from './relay.mjs';
import { startup } from './startup.mjs';

// Memory first: what other cases have given back could be used again without being seen.
export const suite = [
  large,
  records,
  passes,
  inspect,
  hypercalls,
  reader,
  descriptors,
  migration,
  relay,
  startup,
].flat();
