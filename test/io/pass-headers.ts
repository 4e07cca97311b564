import type { HptReader } from '../../lib/io/reader.js';
import { headers } from './wire-records.js';

export type Header = [number, number, number];

/** The headers of each chunk of one pass. */
export async function readPass(reader: HptReader): Promise<Header[][]> {
  const chunks: Header[][] = [];
  for await (const chunk of reader.pass()) chunks.push(headers(chunk));
  return chunks;
}
