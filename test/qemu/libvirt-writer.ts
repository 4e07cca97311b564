/** A save file as libvirt writes it: header, XML, cookie, and what is given after them. */
export function saveFile(
  stream: Uint8Array,
  {
    compression = 0,
    bigEndian = false,
    magic = 'LibvirtQemudSave',
    version = 2,
    cookie = '',
    ...claims
  }: {
    readonly compression?: number;
    readonly bigEndian?: boolean;
    readonly magic?: string;
    readonly version?: number;
    readonly cookie?: string;
    readonly length?: number;
    readonly cookieOffset?: number;
  } = {},
): Buffer {
  const xml = Buffer.from('<domain type="kvm"><name>guest</name></domain>\0');
  const { length = xml.length + cookie.length, cookieOffset = cookie === '' ? 0 : xml.length } = claims;
  const words = Buffer.alloc(19 * 4);
  for (const [k, word] of [version, length, 1, compression, cookieOffset].entries()) {
    if (bigEndian) words.writeUInt32BE(word, k * 4);
    else words.writeUInt32LE(word, k * 4);
  }
  return Buffer.concat([Buffer.from(magic), words, xml, Buffer.from(cookie), stream]);
}
