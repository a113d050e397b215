/**
 * Positions in the WAL. They have 64 bits: text on the wire, bigint in the program, never a float; only a difference
 * of two, which is small, may become a number.
 */

/** "16/B374D848" in bytes since the beginning; undefined for what is no position. */
export function parseLsn(text: string | null | undefined): bigint | undefined {
  const match = /^([0-9A-F]{1,8})\/([0-9A-F]{1,8})$/i.exec(text ?? '');
  return match === null ? undefined : (BigInt(`0x${match[1]!}`) << 32n) + BigInt(`0x${match[2]!}`);
}

/** As PostgreSQL writes it: two hexadecimal numbers, no leading zeros. */
export function formatLsn(lsn: bigint): string {
  return `${(lsn >> 32n).toString(16).toUpperCase()}/${(lsn & 0xffff_ffffn).toString(16).toUpperCase()}`;
}

/** Bytes from `behind` to `ahead`, never below zero: two positions are not read at quite the same moment. */
export function bytesBetween(behind: bigint, ahead: bigint): number {
  return ahead > behind ? Number(ahead - behind) : 0;
}
