import { describe, expect, test } from 'vitest';
import { formatAddress, isLoopback, parseAddress } from '../../lib/transport/address.js';

describe('an address', () => {
  test.each([
    ['tls://b.example:7000', { kind: 'tls', host: 'b.example', port: 7000 }],
    ['tcp://127.0.0.1:0', { kind: 'tcp', host: '127.0.0.1', port: 0 }],
    ['tls://[fd00::2]:65535', { kind: 'tls', host: 'fd00::2', port: 65535 }],
    ['unix:/run/kvm-htab/a b', { kind: 'unix', path: '/run/kvm-htab/a b' }],
    ['systemd', { kind: 'systemd' }],
  ])('%s is read, and written the same', (text, address) => {
    expect(parseAddress(text)).toEqual(address);
    expect(formatAddress(parseAddress(text))).toBe(text);
  });

  test.each([
    '',
    'b.example:7000',
    'tls:b.example:7000',
    'TLS://b.example:7000',
    'ssl://b.example:7000',
    'tls://b.example',
    'tls://b.example:65536',
    'tls://b.example:7000/',
    'tls://root@b.example:7000',
    'tls://:7000',
    'tls://fd00::2:7000',
    'tls://[b.example]:7000',
    'unix:',
  ])('"%s" is none', (text) => {
    expect(() => parseAddress(text)).toThrow('It must be tls://HOST:PORT, tcp://HOST:PORT or unix:PATH.');
  });

  test.each([
    ['127.0.0.1', true],
    ['127.255.255.254', true],
    ['::1', true],
    ['::ffff:127.0.0.1', true],
    ['0.0.0.0', false],
    ['::', false],
    ['::ffff:10.0.0.1', false],
    ['126.255.255.255', false],
    ['128.0.0.0', false],
    ['localhost', false],
  ])('%s is an address of this machine alone: %s', (ip, local) => {
    expect(isLoopback(ip)).toBe(local);
  });
});
