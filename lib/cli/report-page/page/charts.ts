import uPlot from 'uplot';
import type { BarsData, PassesData } from '../page-data.js';

const HEIGHT = 260;
const COUNTS = new Intl.NumberFormat('en-US');

/** Draws bars with names below them, in place of what the element showed. */
export function showBars(element: HTMLElement, { title, axisTitle, names, values, line }: BarsData): void {
  if (values.length === 0) return;
  const data: number[][] = [names.map((_, k) => k), [...values]];
  const series: uPlot.Series[] = [
    { label: axisTitle, value: (_, k: number | null) => (k === null ? '' : (names[k] ?? '')) },
    {
      label: title,
      fill: colour(element, '--bar'),
      paths: uPlot.paths.bars!({ size: [0.7, 60] }),
      points: { show: false },
      value: countText,
    },
  ];
  if (line !== undefined) {
    data.push([...line.values]);
    series.push({ label: line.title, stroke: colour(element, '--line'), width: 2, value: countText });
  }
  const isLong = names.some((name) => name.length > 6) && names.length > 4;
  show(element, data, {
    series,
    scales: { x: { time: false, range: [-0.6, names.length - 0.4] }, y: FROM_ZERO },
    axes: [
      {
        ...axis(element),
        grid: { show: false },
        splits: data[0]!,
        values: () => [...names],
        ...(isLong ? { rotate: -45, size: 90 } : {}),
      },
      { ...axis(element), size: 70, splits: powersOfTen, values: countTexts },
    ],
  });
}

/** Draws a line for each kind of change. */
export function showPasses(element: HTMLElement, { passes, lines }: PassesData): void {
  const colours = { came: '--bar', went: '--line', changed: '--third' };
  const names = ['came', 'went', 'changed'] as const;
  show(element, [[...passes], ...names.map((name) => [...lines[name]])], {
    series: [
      { label: 'pass' },
      ...names.map((name) => ({
        label: name,
        stroke: colour(element, colours[name]),
        width: 2,
        value: countText,
      })),
    ],
    scales: { x: { time: false }, y: { range: (_, _min, max) => [0, Math.max(max * 1.05, 1)] } },
    axes: [
      { ...axis(element), incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10_000] },
      { ...axis(element), size: 70, values: countTexts },
    ],
  });
}

/** Logarithmic, and yet from 0 on: one group among half a million still shows. */
const FROM_ZERO: uPlot.Scale = {
  // Custom. The enum that names it is not there at run time.
  // eslint-disable-next-line @typescript-eslint/no-unsafe-enum-assignment
  distr: 100,
  fwd: Math.log1p,
  bwd: Math.expm1,
  range: (_, _min, max) => [0, Math.max(max * 1.3, 1)],
};

function powersOfTen(_: uPlot, _axis: number, _min: number, max: number): number[] {
  const powers = [0];
  for (let power = 1; power <= max; power *= 10) powers.push(power);
  return powers;
}

function show(
  element: HTMLElement,
  data: number[][],
  options: Omit<uPlot.Options, 'width' | 'height'>,
): void {
  element.replaceChildren();
  const size = { width: element.clientWidth, height: HEIGHT };
  new uPlot(
    { ...size, cursor: { drag: { x: false, y: false } }, ...options },
    data as uPlot.AlignedData,
    element,
  );
}

function axis(element: HTMLElement): uPlot.Axis {
  return { stroke: colour(element, '--text'), grid: { stroke: colour(element, '--grid'), width: 1 } };
}

function colour(element: HTMLElement, name: string): string {
  return getComputedStyle(element).getPropertyValue(name);
}

function countText(_: uPlot, value: number | null): string {
  return value === null ? '' : COUNTS.format(Math.round(value));
}

function countTexts(_: uPlot, values: (number | null)[]): string[] {
  return values.map((value) => (value === null || !Number.isInteger(value) ? '' : COUNTS.format(value)));
}
