// What several reports say of their numbers.

/** @param {number[]} values */
export const median = (values) => values.toSorted((a, b) => a - b)[values.length >>> 1] ?? NaN;

/** @param {number} bytes */
export const mebibytes = (bytes) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
