/** What the soak asks of the process that receives guests. */
export type Request =
  /** Wait for this migration; give it up after so many frames. */
  | { readonly take: string; readonly giveUpAfter: number | undefined }
  /** Wait for it no longer. */
  | { readonly drop: string }
  /** Collect the garbage, and tell that. */
  | 'collect';

/** What that process tells. */
export type Told =
  | { readonly listening: number }
  | { readonly collected: true }
  /** The digest of the table that is about to be committed. */
  | { readonly id: string; readonly digest: string }
  /** The guest runs here, and has gone on: the digest of its table after {@link LATER_STEPS}. */
  | { readonly id: string; readonly later: string }
  /** The guest has not come: why, and how many entries are left of it. */
  | { readonly id: string; readonly failed: string; readonly left: number };

/** Steps of a guest after which it must be what it would be had it not moved. */
export const LATER_STEPS = 50;
/** Longest time without a connection: a line that is cut for good and a host that has died take it. */
export const RECONNECT_MS = 1000;
