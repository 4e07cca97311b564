/** What the script of a report draws; it stands in the page as JSON. */
export interface PageData {
  readonly map: MapData;
  /** By the id of the element that it is drawn in. */
  readonly bars: Readonly<Record<string, BarsData>>;
  /** Undefined where there is one pass only. */
  readonly passes: PassesData | undefined;
}

/** How the map's image is read: a pixel's grey is its number of valid entries, times `scale` and rounded up. */
export interface MapData {
  readonly width: number;
  readonly height: number;
  readonly groupsPerPixel: number;
  readonly scale: number;
}

export interface BarsData {
  /** Of the heights. */
  readonly title: string;
  /** Of the names. */
  readonly axisTitle: string;
  readonly names: readonly string[];
  readonly values: readonly number[];
  /** A line across the bars, with its name. */
  readonly line?: { readonly title: string; readonly values: readonly number[] };
}

/** By pass, from the second on. */
export interface PassesData {
  readonly passes: readonly number[];
  readonly lines: Readonly<Record<'came' | 'went' | 'changed', readonly number[]>>;
}
