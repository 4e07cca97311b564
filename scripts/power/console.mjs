// What the guest prints, line by line: firmware and kernel first, then the tests, then the verdict.

/** @typedef {{ passed: number, failed: number, skipped: number }} Counts */

const BEGIN = /^power-begin (.*)$/;
const END = /^power-end (\d+)$/;
/** Not a skipped one. */
const RESULT = /^(ok|not ok) \d+ - (?!.* # SKIP)(.*)$/i;

export class Console {
  /** What the guest runs on, once its tests begin. @type {string | undefined} */
  begun;
  /** Exit status of the tests inside, once they ended. @type {number | undefined} */
  verdict;
  /** @type {Counts} */
  counts = { passed: 0, failed: 0, skipped: 0 };
  /** The tests that ran, by name. @type {{ name: string, passed: boolean }[]} */
  results = [];
  #rest = '';
  /** @type {(line: string) => void} */ #show;

  /** @param {(line: string) => void} show takes every line the tests print, as it comes */
  constructor(show) {
    this.#show = show;
  }

  /** @param {string} text any piece of the console's output */
  push(text) {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) this.#line(line.replaceAll('\r', ''));
  }

  /** @param {string} line */
  #line(line) {
    const begun = BEGIN.exec(line)?.[1];
    const verdict = END.exec(line)?.[1];
    if (begun !== undefined) {
      this.begun = begun;
      this.#show(`# Linux ${begun}`);
    } else if (this.begun === undefined || this.verdict !== undefined) return;
    else if (verdict !== undefined) this.verdict = Number(verdict);
    else {
      const [, word, name = ''] = RESULT.exec(line) ?? [];
      if (word !== undefined) {
        const passed = word === 'ok';
        this.counts[passed ? 'passed' : 'failed']++;
        this.results.push({ name, passed });
      } else if (/^ok \d+ /.test(line)) this.counts.skipped++;
      this.#show(line);
    }
  }
}
