/** A column of an export. */
export interface Column {
  readonly name: string;
  /** `hex`: an unsigned doubleword that text shows in hexadecimal. `index`: a number that ascends. */
  readonly type: 'hex' | 'unsigned index' | 'index' | 'long' | 'int' | 'flag' | 'text';
  /** It has no value where an entry is unreadable or misplaced, or the guest not known to be Linux. */
  readonly optional?: true;
  /** Its values hardly repeat. */
  readonly diverse?: true;
}

/** A column's values of some rows. */
export type Values = ArrayLike<bigint | number | boolean | string | undefined>;
