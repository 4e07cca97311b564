import { Writable } from 'node:stream';
import { expect, test } from 'vitest';
import { writeLines } from '../../../lib/cli/report/lines.js';

/** Fails like this with the second batch of lines. */
function failing(code: string): Writable {
  let writes = 0;
  const stream = new Writable({
    write: (_chunk, _encoding, done) => {
      done(++writes === 2 ? Object.assign(new Error('failed'), { code }) : null);
    },
  });
  // The command's streams have a listener too.
  return stream.on('error', () => undefined);
}

function* endless(): Generator<string> {
  for (;;) yield 'x'.repeat(100);
}

test('a reader that has seen enough ends the lines, and is no failure', async () => {
  const { signal } = new AbortController();
  await expect(writeLines(failing('EPIPE'), endless(), signal)).resolves.toBeUndefined();
  await expect(writeLines(failing('ENOSPC'), endless(), signal)).rejects.toMatchObject({ code: 'ENOSPC' });
});
