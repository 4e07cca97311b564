/** What `kvm-htab demo` takes. */
export interface DemoOptions {
  /** Seed of what the guest does. */
  readonly seed: number;
  /** log2 of the table's bytes. */
  readonly order: number;
  /** Steps the guest takes per second. */
  readonly rate: number;
  /** Move memory and registers too. */
  readonly wholeGuest?: boolean;
  /** Where the moved table is saved to, as a snapshot. */
  readonly save?: string;
  /** Print the outcome as JSON. */
  readonly json?: boolean;
}
