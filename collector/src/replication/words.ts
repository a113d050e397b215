/** How figures of replication are written in sentences: spans, sizes, moments. One form everywhere, so that two texts about one thing agree. */
import { valueText } from '../rules/bound-text.ts';

const HALF_DAY_MS = 43_200_000;

export const iso = (at: number): string => new Date(at).toISOString();

/** To a tenth: nothing here is known better. */
export const secondsOf = (ms: number): number => Math.round(Math.max(0, ms) / 100) / 10;

/** "12 min 5 s". Below ten seconds with tenths, above them nobody reads those; what is not nothing is never written as 0. */
export function spanText(ms: number): string {
  if (ms >= 10_000) return valueText(Math.round(ms / 1_000), 'seconds');
  return valueText(ms >= 100 ? secondsOf(ms) : Math.max(0, ms) / 1_000, 'seconds');
}

export const bytesText = (bytes: number): string => valueText(bytes, 'bytes');

/** A moment: the time of day, with the day where that is another one. */
export function momentText(at: number, now: number): string {
  const text = iso(at);
  return Math.abs(now - at) < HALF_DAY_MS ? `${text.slice(11, 19)} UTC` : `${text.slice(0, 10)} ${text.slice(11, 19)} UTC`;
}

export const asSentence = (text: string): string => (text === '' || /[.!?]$/.test(text) ? text : `${text}.`);
