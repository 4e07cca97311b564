import { existsSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { chromium, type Browser, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { PageData } from '../../lib/cli/report-page/page-data.js';
import type { LinuxGuest } from '../../lib/inspect/linux-guest.js';
import type { TableStats } from '../../lib/inspect/table-stats.js';
import { linuxTables } from '../inspect/support.js';
import { scratchFiles, scratchFolder } from '../scratch.js';
import { notCompiled } from './processes.js';
import { FIXTURE, fixture, outputOf } from './reported-table.js';

const CHROMIUM = '/usr/bin/chromium';
const noBrowser =
  notCompiled ?? (existsSync(CHROMIUM) ? undefined : `there is no ${CHROMIUM}: apt-get install chromium`);
const scratch = scratchFiles();

describe.skipIf(noBrowser !== undefined)(
  `a report in Chromium${noBrowser === undefined ? '' : ` (${noBrowser})`}`,
  () => {
    let browser: Browser;
    beforeAll(async () => {
      browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] });
    });
    afterAll(() => browser.close());

    /** A page as it stands once its map is drawn; it must ask for nothing and complain of nothing. */
    async function opened(file: string, use: (page: Page) => Promise<void>): Promise<void> {
      const page = await browser.newPage();
      const complaints: string[] = [];
      page.on('console', (message) => complaints.push(message.text()));
      page.on('pageerror', (error) => complaints.push(error.message));
      page.on('dialog', (dialog) => complaints.push(dialog.message()));
      page.on('request', (request) => {
        if (!request.url().startsWith('data:')) complaints.push(request.url());
      });
      const url = pathToFileURL(file).href;
      await page.goto(url);
      await page.waitForSelector('#map canvas');
      await use(page);
      expect(complaints).toEqual([url]);
      await page.close();
    }

    /** What an expression of the page's own gives. */
    const valueOf = <T>(page: Page, expression: string): Promise<T> => page.evaluate<T>(expression);
    const textsOf = (page: Page, selector: string): Promise<string[]> =>
      valueOf(page, `[...document.querySelectorAll('${selector}')].map((each) => each.textContent)`);

    test('has the numbers of inspect --json, in its text and its tables', async () => {
      const [snapshot, file] = [fixture(scratch('a.hpt')), scratch('a.html')];
      await outputOf('report', snapshot, '-o', file);
      type Document = TableStats & { readonly guest: LinuxGuest };
      const stats = JSON.parse(await outputOf('inspect', snapshot, '--json')) as Document;
      const { guest } = stats;
      await opened(file, async (page) => {
        const shown = await valueOf<[string, number][]>(
          page,
          `[...document.querySelectorAll('data')].map(({ id, value }) => [id, Number(value)])`,
        );
        const expected: Record<string, number> = {
          ...(stats as unknown as Record<string, number>),
          full: stats.occupancy[8]!,
          processes: 1,
          unknown: guest.unknown,
        };
        expect(shown.length).toBeGreaterThan(12);
        const counted = new Map(Object.entries(expected));
        expect(shown).toEqual(shown.map(([id]) => [id, counted.get(id)]));
        const cells = await textsOf(page, '[aria-labelledby=h-owners] td:nth-child(3)');
        expect(cells.map((text) => Number(text.replaceAll(',', ''))).sort()).toEqual(
          guest.contexts.map(({ entries }) => entries).sort(),
        );
        const groups = await textsOf(
          page,
          '[aria-label="groups by their number of valid entries"] td:nth-child(2)',
        );
        expect(groups.map((text) => Number(text.replaceAll(',', '')))).toEqual(stats.occupancy);
      });
    });

    test('tells at any place of the map what its group holds', async () => {
      const [snapshot, file] = [fixture(scratch('b.hpt')), scratch('b.html')];
      await outputOf('report', snapshot, '-o', file);
      const table = linuxTables[FIXTURE];
      await opened(file, async (page) => {
        const canvas = page.locator('#map canvas');
        const box = (await canvas.boundingBox())!;
        const { map } = JSON.parse((await textsOf(page, '#data'))[0]!) as PageData;
        const { width, height } = map;
        for (const ptex of [table.valid.next(0), table.valid.next(table.entryCount / 3), 8]) {
          const group = ptex >>> 3;
          const held = Array.from({ length: 8 }, (_, slot) => table.has(group * 8 + slot)).filter(
            Boolean,
          ).length;
          await canvas.hover({
            position: {
              x: (((group % width) + 0.5) * box.width) / width,
              y: ((Math.floor(group / width) + 0.5) * box.height) / height,
            },
          });
          expect(await page.locator('#map-at').textContent()).toMatch(
            new RegExp(`^Group ${group.toLocaleString('en-US')}, entries .*: ${held} of 8 valid$`),
          );
        }
      });
    });

    test('lets the keyboard reach everything', async () => {
      const [snapshot, file] = [fixture(scratch('c.hpt')), scratch('c.html')];
      await outputOf('report', snapshot, '-o', file);
      await opened(file, async (page) => {
        const wanted = await page
          .locator('button, canvas[tabindex], summary, .scroll:not(details .scroll)')
          .count();
        const reached: string[] = [];
        for (;;) {
          await page.keyboard.press('Tab');
          const name = await valueOf<string>(page, 'document.activeElement.tagName');
          if (name === 'BODY' || reached.length > wanted) break;
          reached.push(name);
        }
        expect(reached).toHaveLength(wanted);
        const at = page.locator('#map-at');
        await page.locator('#map canvas').focus();
        await page.keyboard.press('ArrowRight');
        const first = await at.textContent();
        expect(first).toMatch(/^Group /);
        await page.keyboard.press('+');
        await page.keyboard.press('Shift+ArrowDown');
        expect(await at.textContent()).not.toBe(first);
        await page.keyboard.press('0');
        await page.locator('summary').first().press('Enter');
        expect(await page.locator('details').first().getAttribute('open')).toBe('');
      });
    });

    test('names every picture and every table, and follows light and dark', async () => {
      const file = scratch('d.html');
      await outputOf(
        'report',
        '--emulated=order=20,rate=2000',
        '--passes',
        '4',
        '--interval-ms',
        '20',
        '-o',
        file,
      );
      await opened(file, async (page) => {
        const pictures = page.locator('[role=img]');
        for (const picture of await pictures.all())
          expect(await picture.getAttribute('aria-label')).toMatch(/\w/);
        expect(await pictures.count()).toBe(5);
        expect(await page.locator('table:not(:has(caption)):not(.u-legend)').count()).toBe(0);
        expect(await textsOf(page, '[aria-label=passes] tbody th')).toEqual(['2', '3', '4']);
        expect(await page.locator('.uplot canvas').count()).toBe(4);
        const back = (): Promise<string> => valueOf(page, 'getComputedStyle(document.body).backgroundColor');
        await page.emulateMedia({ colorScheme: 'dark' });
        const dark = await back();
        await page.emulateMedia({ colorScheme: 'light' });
        expect([dark, await back()]).toEqual(['rgb(20, 23, 26)', 'rgb(255, 255, 255)']);
        expect((await page.pdf()).length).toBeGreaterThan(10_000);
        expect(await page.locator('details[open]').count()).toBe(0);
      });
    });

    test('shows the name of a file as text, whatever it is', async () => {
      const name = '<img src=x onerror=alert(1)>&amp;.hpt';
      const file = scratch('e.html');
      await outputOf('report', fixture(path.join(scratchFolder(), name)), '-o', file);
      await opened(file, async (page) => {
        expect(await page.locator('h1').textContent()).toContain(name);
      });
    });
  },
);
