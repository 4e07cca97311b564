import { execFileSync, spawnSync } from 'node:child_process';
import { beforeAll, describe, expect, test } from 'vitest';
import { run } from '../../lib/cli/program.js';
import { captureOutput } from './capture.js';

const COMMANDS = ['probe', 'send', 'receive', 'resolve', 'save', 'load', 'demo', 'completion', 'help'];

async function scriptOf(shell: string): Promise<string> {
  const output = captureOutput();
  expect(await run(['completion', shell], output)).toBe(0);
  return output.stdout.text;
}

function isMissing(shell: string): boolean {
  return spawnSync(shell, ['--version']).error !== undefined;
}

/** For the list of tests: why those of a shell are skipped. */
const withReason = (shell: string): string => (isMissing(shell) ? `${shell} (it is not installed)` : shell);

describe.skipIf(isMissing('bash'))(`completion in ${withReason('bash')}`, () => {
  let script: string;
  beforeAll(async () => {
    script = await scriptOf('bash');
  });

  /** What bash offers for these words, the last of which is being typed; `file` where it is to complete a file's name. */
  function complete(...words: string[]): string[] {
    const program = `${script}
      compopt() { echo file; }
      COMP_WORDS=(kvm-htab "$@") COMP_CWORD=$#
      _kvm_htab
      ((\${#COMPREPLY[@]} == 0)) || printf '%s\\n' "\${COMPREPLY[@]}"`;
    const printed = execFileSync('bash', ['-eu', '-c', program, 'bash', ...words], { encoding: 'utf8' });
    return printed.split('\n').filter((line) => line !== '');
  }

  test('offers every command', () => {
    expect(complete('')).toEqual(expect.arrayContaining(COMMANDS));
    expect(complete('re')).toEqual(['receive', 'resolve', 'rewrite', 'relay', 'report']);
  });

  test('offers the options of the command that was typed', () => {
    expect(complete('send', '--o')).toEqual([
      '--order',
      '--on-pause',
      '--on-resume',
      '--on-throttle',
      '--on-finish',
      '--on-rest-ms',
    ]);
    expect(complete('save', '--o')).toEqual(['--order', '--on-pause', '--on-resume']);
    expect(complete('send', 'unix:x', '--json', '--wai')).toEqual(['--wait-ms']);
  });

  test('offers the words that an option takes', () => {
    const words = ['stop', 'throttle', 'give-up'];
    expect(complete('send', '--if-not-converging', '')).toEqual(words);
    expect(complete('send', '--if-not-converging', '=')).toEqual(words);
    expect(complete('send', '--if-not-converging', '=', 'st')).toEqual(['stop']);
    expect(complete('completion', '')).toEqual(['bash', 'zsh', 'fish']);
    expect(complete('help', 'lo')).toEqual(['load']);
  });

  test('completes files where a file is wanted, and nothing where a number is', () => {
    expect(complete('send', '--journal', '')).toEqual(['file']);
    expect(complete('save', '')).toEqual(['file']);
    expect(complete('send', '--order', '')).toEqual([]);
  });

  test('does not run what was typed', () => {
    expect(complete('save', '$(echo run >&2; kill $$)', '--js')).toEqual(['--json']);
  });

  test('can be loaded twice', () => {
    expect(execFileSync('bash', ['-eu', '-c', `${script}${script}echo loaded`], { encoding: 'utf8' })).toBe(
      'loaded\n',
    );
  });
});

describe.skipIf(isMissing('zsh'))(`completion in ${withReason('zsh')}`, () => {
  test('gives the commands, and the options of each, to its completion system', async () => {
    const stubs = `
      compdef() { : }
      _describe() { print -rl -- "\${(@P)2}" }
      _arguments() { print -rl -- "$@" }`;
    const calls = `
      words=(kvm-htab '') CURRENT=2 PREFIX=
      _kvm-htab
      words=(kvm-htab send '') CURRENT=3
      _kvm-htab`;
    const program = `${stubs}\n${await scriptOf('zsh')}\n${calls}`;
    const printed = execFileSync('zsh', ['-f', '-c', program], { encoding: 'utf8' }).split('\n');
    for (const command of COMMANDS) expect(printed.some((line) => line.startsWith(`${command}:`))).toBe(true);
    expect(printed).toContainEqual(expect.stringMatching(/^--journal=\[.*\]:value:_files$/));
    expect(printed).toContainEqual(
      expect.stringMatching(/^--if-not-converging=.*:\(stop throttle give-up\)$/),
    );
  });
});

describe.skipIf(isMissing('fish'))(`completion in ${withReason('fish')}`, () => {
  test('offers commands, options and words', async () => {
    const script = await scriptOf('fish');
    const complete = (line: string): string[] =>
      execFileSync('fish', ['--no-config', '-c', `${script}\ncomplete -C '${line}'`], { encoding: 'utf8' })
        .split('\n')
        .map((each) => each.split('\t')[0]!);
    expect(complete('kvm-htab ')).toEqual(expect.arrayContaining(COMMANDS));
    expect(complete('kvm-htab send --wai')).toContain('--wait-ms');
    expect(complete('kvm-htab send --if-not-converging ')).toEqual(
      expect.arrayContaining(['stop', 'throttle', 'give-up']),
    );
    expect(complete('kvm-htab save package.js')).toContain('package.json');
  });
});

describe('completion', () => {
  test.each(['bash', 'zsh', 'fish'])('for %s names every command and its options', async (shell) => {
    const script = await scriptOf(shell);
    for (const name of [...COMMANDS, 'recheck-source', 'answer-ms', 'decide', 'seed']) {
      expect(script).toContain(name);
    }
  });

  test('for an unknown shell is refused', async () => {
    const output = captureOutput();
    expect(await run(['completion', 'tcsh'], output)).toBe(2);
    expect(output.stderr.text).toContain("shell 'tcsh'");
  });
});
