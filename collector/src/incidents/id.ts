/** Ids of incidents, journal entries, deliveries and silences: UUID version 7 (RFC 9562, section 5.7), so that they sort by time; made where the thing is made. */

/** Fills a buffer with random bytes. */
export type RandomBytes = (size: number) => Uint8Array;

/** An id for something that happens at `atMs` (milliseconds since 1970). */
export function newId(atMs: number, random: RandomBytes): string {
  const bytes = new Uint8Array(16);
  bytes.set(random(10), 6);
  let rest = Math.max(0, Math.floor(atMs));
  for (let i = 5; i >= 0; i--) {
    bytes[i] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  bytes[6] = (bytes[6]! & 0x0f) | 0x70;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = Buffer.from(bytes).toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Whether it has the form of an id: anything else is not to be asked of the database. */
export function isId(text: string): boolean {
  return UUID.test(text);
}
