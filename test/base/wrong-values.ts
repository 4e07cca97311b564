export const NOT_AN_OBJECT = [null, 5, 'text', (): number => 5];
export const NOTHING_USEFUL = [undefined, ...NOT_AN_OBJECT, {}, []];
/** Of an argument that may be a function too. */
export const NO_FUNCTION = NOTHING_USEFUL.filter((value) => typeof value !== 'function');
export const NO_PATH = [undefined, null, 5, {}];
export const NO_BIGINT = [undefined, null, 5, 'text', {}];
