/** A scenario as it was read from its file: who there is, and what is done and expected, line by line. Nothing here runs. */
import type { Form, Values } from './forms.ts';
import { POSTGRES_VERSIONS, type PostgresVersion } from '../../postgres/cluster.ts';

/** A server as the file declares it. */
export interface ServerPlan {
  readonly name: string;
  /** The server it receives from; undefined for the primary. */
  readonly from: string | undefined;
  /** The physical slot it uses on its upstream. */
  readonly slot: string | undefined;
  readonly settings: Readonly<Record<string, string>>;
}

export interface Said<F extends Form> {
  readonly form: F;
  readonly values: Values;
  /** As written. */
  readonly text: string;
}

interface AtLine {
  readonly line: number;
  /** The line as written. */
  readonly text: string;
}

export interface Doing<V extends Form> extends AtLine {
  readonly kind: 'do';
  /** Milliseconds after the scenario's beginning; undefined: as soon as the line before is done. */
  readonly atMs: number | undefined;
  readonly verb: Said<V>;
}

export interface Expecting<C extends Form> extends AtLine {
  readonly kind: 'expect' | 'detect';
  readonly withinMs: number;
  /** All have to hold at one look. */
  readonly conditions: readonly Said<C>[];
}

export interface Holding<C extends Form> extends AtLine {
  readonly kind: 'hold';
  readonly forMs: number;
  readonly conditions: readonly Said<C>[];
}

/** From where it stands to the end; a line before everything that is done is for the whole scenario. */
export interface Forbidding<C extends Form> extends AtLine {
  readonly kind: 'never';
  readonly conditions: readonly Said<C>[];
}

export type Statement<V extends Form, C extends Form> = Doing<V> | Expecting<C> | Holding<C> | Forbidding<C>;

export interface Scenario<V extends Form, C extends Form> {
  /** The file's name without its ending. */
  readonly name: string;
  readonly file: string;
  /** Its first comment. */
  readonly title: string;
  /** Of the design's list of scenarios. */
  readonly numbers: readonly number[];
  readonly versions: readonly PostgresVersion[];
  readonly servers: readonly ServerPlan[];
  /** Between two reports of an agent. */
  readonly intervalMs: number;
  /** Programs it cannot do without: pg_rewind. */
  readonly needs: readonly string[];
  /** Whose exporter is asked for the comparison. */
  readonly compare: string;
  /** Only by the command that asks for it. */
  readonly unscaled: boolean;
  readonly statements: readonly Statement<V, C>[];
}

export const VERSIONS: readonly PostgresVersion[] = POSTGRES_VERSIONS;
