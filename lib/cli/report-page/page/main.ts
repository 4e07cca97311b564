// The script of a report: it draws the map and the charts. What it draws stands in tables too.
import type { PageData } from '../page-data.js';
import { showBars, showPasses } from './charts.js';
import { showMap } from './map.js';

const data = JSON.parse(document.getElementById('data')!.textContent) as PageData;

function draw(): void {
  for (const [id, bars] of Object.entries(data.bars)) showBars(document.getElementById(id)!, bars);
  if (data.passes !== undefined) showPasses(document.getElementById('passes')!, data.passes);
}

draw();
showMap(data.map);

// Charts have the colours and the width of the moment in which they are drawn.
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
let width = innerWidth;
addEventListener('resize', () => {
  if (innerWidth === width) return;
  width = innerWidth;
  draw();
});

/** Details that were opened for the printer. */
let opened: HTMLDetailsElement[] = [];
addEventListener('beforeprint', () => {
  document.documentElement.dataset['print'] = '';
  opened = [...document.querySelectorAll<HTMLDetailsElement>('details:not([open])')];
  for (const details of opened) details.open = true;
  draw();
});
addEventListener('afterprint', () => {
  delete document.documentElement.dataset['print'];
  for (const details of opened) details.open = false;
  draw();
});
