/**
 * The wire's form of a measured value. JSON has no NaN and no infinities, so those three travel as the
 * strings that Prometheus's text format uses; a value that was not measured travels as null and is
 * stored as NULL, never as 0.
 */
import { Type, type Static } from 'typebox';

/** The three values that JSON cannot carry as numbers, as Prometheus writes them. */
export const NonFinite = Type.Union([Type.Literal('NaN'), Type.Literal('+Inf'), Type.Literal('-Inf')]);

/** A measured value on the wire: a number, one of "NaN", "+Inf", "-Inf", or null for "not measured". */
export const WireValue = Type.Union([Type.Number(), Type.Null(), NonFinite]);
export type WireValue = Static<typeof WireValue>;

/** Writes a measured value in the wire's form. `null` and `undefined` mean "not measured". */
export function toWireValue(value: number | null | undefined): WireValue {
  if (value === null || value === undefined) return null;
  if (Number.isFinite(value)) return value;
  if (Number.isNaN(value)) return 'NaN';
  return value > 0 ? '+Inf' : '-Inf';
}

/**
 * Reads a wire value back. Returns `undefined` for anything that has no defined form, so that the
 * caller can refuse the report and say which position was wrong.
 */
export function fromWireValue(value: unknown): number | null | undefined {
  switch (typeof value) {
    case 'number':
      return value;
    case 'object':
      return value === null ? null : undefined;
    case 'string':
      if (value === 'NaN') return Number.NaN;
      if (value === '+Inf') return Number.POSITIVE_INFINITY;
      if (value === '-Inf') return Number.NEGATIVE_INFINITY;
      return undefined;
    default:
      return undefined;
  }
}
