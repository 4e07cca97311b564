import type { Duplex } from 'node:stream';
import { foreignText } from '../base/foreign-text.js';
import { tryBriefly } from '../base/time.js';
import { encodeFields, isText, parseFields, pickFields, type FieldChecks } from '../frames/fields.js';
import { FrameCodec, type FrameType } from '../frames/frame.js';
import { FrameLink, type FrameLinkOptions } from './frame-link.js';

/** What any two peers may say: trying again is of no use. */
export interface Refusal {
  readonly refused: { readonly reason: string };
}

export interface MessageLinkOptions<Messages, Other extends string> extends FrameLinkOptions {
  /** First 16 bits of every frame. */
  readonly magic: number;
  /** What is in a message: a check for each of its fields. */
  readonly checks: { readonly [Type in keyof Messages]: FieldChecks<Messages[Type]> };
  /** The frames that are no messages, and their longest payload in bytes. */
  readonly others: Readonly<Record<Other, number>>;
  /** Make the errors for a message that is not as it must be, and for what the peer gives as the reason of its refusal. */
  readonly invalid: (what: string) => Error;
  readonly refused: (reason: string) => Error;
}

/** The messages of which these are the checks; each check is a type guard. */
export type MessagesOf<Checks> = {
  readonly [Type in keyof Checks]: {
    readonly [Field in keyof Checks[Type]]: Checks[Type][Field] extends (value: unknown) => value is infer T
      ? T
      : never;
  };
};

const MAX_FIELDS_BYTES = 4096;

/**
 * A connection with messages, JSON objects each, beside the frames that are none. The number of a frame's type is its place
 * among `refused`, the messages and the others, from 0.
 */
export class MessageLink<Messages extends object, Other extends string> extends FrameLink<
  (keyof Messages & string) | keyof Refusal | Other
> {
  readonly #options: MessageLinkOptions<Messages, Other>;

  constructor(channel: Duplex, options: MessageLinkOptions<Messages, Other>) {
    super(channel, codecOf(options), options);
    this.#options = options;
  }

  tell<Type extends keyof Messages & string>(type: Type, fields: Messages[Type]): Promise<void> {
    return this.send(type, encodeFields(fields as object));
  }

  /** The next message, within the time that the peer has. @throws if it is not of this type */
  async expect<Type extends keyof Messages & string>(due: Type): Promise<Messages[Type]> {
    const { type, payload } = await this.receive();
    if (type === 'refused') {
      const { reason } = this.#pick<Refusal['refused']>(type, payload, { reason: isText });
      throw this.#options.refused(foreignText(reason));
    }
    if (type !== due) throw this.#options.invalid(`${type} in place of ${due}`);
    return this.decode(due, payload);
  }

  /** The fields of a message. @throws for fields that are missing or of another type */
  decode<Type extends keyof Messages & string>(type: Type, payload: Uint8Array): Messages[Type] {
    const { [type]: checks } = this.#options.checks;
    return this.#pick(type, payload, checks);
  }

  /** Closes the connection. The peer is told why, and read for a while until it has heard it. */
  async refuse(reason: string): Promise<void> {
    await tryBriefly(async () => {
      await this.send('refused', encodeFields({ reason: reason.slice(0, 1000) }));
      for (;;) await this.wait();
    });
    this.close();
  }

  #pick<Fields>(type: string, payload: Uint8Array, checks: FieldChecks<Fields>): Fields {
    const invalid = (name: string): Error => this.#options.invalid(`${type} without a valid ${name}`);
    return pickFields<Fields>(parseFields(payload) ?? {}, checks, invalid);
  }
}

function codecOf<Messages extends object, Other extends string>({
  magic,
  checks,
  others,
  broken,
}: MessageLinkOptions<Messages, Other>): FrameCodec<(keyof Messages & string) | keyof Refusal | Other> {
  type Name = (keyof Messages & string) | keyof Refusal | Other;
  const messages = ['refused', ...Object.keys(checks)].map((name) => [name, MAX_FIELDS_BYTES] as const);
  const types = [...messages, ...Object.entries<number>(others)].map(
    ([name, maxBytes], code) => [name, { code, maxBytes }] as const,
  );
  return new FrameCodec({
    magic,
    types: Object.fromEntries(types) as Record<Name, FrameType>,
    refuse: broken,
  });
}
