/** What `--by` takes. */
export const GROUPINGS = ['pteg', 'context', 'vsid', 'page-size', 'region'] as const;
export type Grouping = (typeof GROUPINGS)[number];
