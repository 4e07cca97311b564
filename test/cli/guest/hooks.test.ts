import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { Hooks } from '../../../lib/cli/guest/hooks.js';
import { hooksOf } from '../../../lib/cli/guest/hook-options.js';
import { UsageError } from '../../../lib/cli/errors/usage-error.js';
import { GuestControl } from '../../../lib/precopy/guest-control.js';
import { scratchFolder } from '../../scratch.js';
import { until } from './until.js';

const folder = scratchFolder();
const LONG_MS = 60_000;

describe('commands', () => {
  function hooks(command: string, timeoutMs = LONG_MS): Hooks {
    return new Hooks({ onPause: command, onResume: command, onThrottle: command }, timeoutMs);
  }

  test('are run by a shell, and waited for', async () => {
    const file = path.join(folder, 'log');
    const control = new Hooks(
      {
        onPause: `echo paused >> ${file}`,
        onResume: `echo resumed >> ${file}`,
        onThrottle: `echo throttled $KVM_HTAB_THROTTLE >> ${file}`,
      },
      LONG_MS,
    );
    await control.pause();
    await control.throttle?.(3);
    await control.resume();
    expect(readFileSync(file, 'utf8')).toBe('paused\nthrottled 3\nresumed\n');
  });

  test('fail if they end with another status than 0, or by a signal', async () => {
    await expect(hooks('exit 7').pause()).rejects.toThrow(
      'the command of --on-pause ended with status 7: exit 7',
    );
    await expect(hooks('kill -TERM $$').resume()).rejects.toThrow(
      'the command of --on-resume was ended by SIGTERM',
    );
  });

  test('are killed with all they have started when their time is over', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => {
      vi.useRealTimers();
    });
    const file = path.join(folder, 'pid');
    const pausing = hooks(`sleep 1000 & echo $! > ${file}; wait`).pause();
    const refused = expect(pausing).rejects.toThrow(`was ended by SIGKILL (it may take ${LONG_MS} ms)`);
    await until(() => existsSync(file) && readFileSync(file, 'utf8') !== '');
    vi.advanceTimersByTime(LONG_MS);
    await refused;
    const sleeper = readFileSync(file, 'utf8').trim();
    await until(() => !isRunning(sleeper));
  });

  test('are out of the reach of a terminal: Ctrl-C does not end the one that resumes the guest', async () => {
    const file = path.join(folder, 'group');
    await hooks(`cut -d' ' -f5 /proc/self/stat > ${file}`).resume();
    const [, , , , ours] = readFileSync('/proc/self/stat', 'utf8')
      .replace(/\(.*\)/, '')
      .split(/ +/);
    expect(readFileSync(file, 'utf8').trim()).not.toBe(ours);
  });

  test('that are given up while they stop the guest have stopped it before it is resumed', async () => {
    const [begun, go, file] = ['begun', 'go', 'order'].map((name) => path.join(folder, name)) as [
      string,
      string,
      string,
    ];
    const onPause = `touch ${begun}; while [ ! -e ${go} ]; do sleep 0.01; done; echo paused >> ${file}`;
    const guest = new GuestControl(
      new Hooks({ onPause, onResume: `echo resumed >> ${file}` }, LONG_MS),
      LONG_MS,
    );
    const stop = new AbortController();
    const refused = expect(guest.pause(stop.signal)).rejects.toThrow('enough');
    await until(() => existsSync(begun));
    stop.abort(new Error('enough'));
    await refused;
    const resumed = guest.resume();
    writeFileSync(go, '');
    await resumed;
    expect(readFileSync(file, 'utf8')).toBe('paused\nresumed\n');
  });

  test('cannot slow the guest down unless there is one for that', () => {
    expect(new Hooks({ onPause: 'true', onResume: 'true' }, LONG_MS).throttle).toBeUndefined();
  });

  test('come in pairs', () => {
    for (const options of [{ onPause: 'x' }, { onResume: 'x' }, { onThrottle: 'x' }]) {
      expect(() => hooksOf({ ...options, pauseTimeoutMs: LONG_MS })).toThrow(UsageError);
    }
    expect(hooksOf({ pauseTimeoutMs: LONG_MS })).toBeUndefined();
  });
});

/** A process that has ended may stand around until its parent asks for its status. */
function isRunning(pid: string): boolean {
  const file = `/proc/${pid}/stat`;
  return existsSync(file) && !readFileSync(file, 'utf8').includes(') Z ');
}
