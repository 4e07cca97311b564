import { connect } from 'node:net';
import { expect, test } from 'vitest';
import { sendHpt } from '../../../lib/migration/source.js';
import { bootGuest } from './machines.js';

test('a channel that could never connect says so', async () => {
  const guest = await bootGuest();
  await expect(sendHpt(guest.vm, connect('/nofile'), guest.options())).rejects.toMatchObject({
    code: 'ERR_HTAB_MIGRATION',
    message: 'the connection failed: connect ENOENT /nofile',
  });
});
