/**
 * The form of the host's answers, checked before a value is believed: a host of another version may say more or less than this agent
 * knows. A field that is missing is "not measured".
 */
export interface HostRow {
  /** Undefined when it is missing or no string. */
  text(key: string): string | undefined;
  /** Undefined when it is missing or no finite number. */
  number(key: string): number | undefined;
  /** Undefined when it is missing or neither. */
  flag(key: string): boolean | undefined;
}

class Row implements HostRow {
  readonly #fields: Readonly<Record<string, unknown>>;

  constructor(fields: Readonly<Record<string, unknown>>) {
    this.#fields = fields;
  }

  text(key: string): string | undefined {
    const value = this.#fields[key];
    return typeof value === 'string' && value !== '' ? value : undefined;
  }

  number(key: string): number | undefined {
    const value = this.#fields[key];
    return typeof value === 'number' && Number.isFinite(value) ? value : undefined;
  }

  flag(key: string): boolean | undefined {
    const value = this.#fields[key];
    return typeof value === 'boolean' ? value : undefined;
  }
}

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);

/** The answer as one row. Throws when it is none. */
export function rowOf(answer: unknown): HostRow {
  if (!isRecord(answer)) throw new Error('the Windows service host answered in another form than this agent knows');
  return new Row(answer);
}

/** The rows of a list in the answer that have a name; one name twice is told once. Throws when there is no such list. */
export function rowsOf(answer: unknown, list: string): { readonly name: string; readonly row: HostRow }[] {
  const items = isRecord(answer) ? answer[list] : undefined;
  if (!Array.isArray(items)) throw new Error('the Windows service host answered in another form than this agent knows');
  const rows = new Map<string, HostRow>();
  for (const item of items as unknown[]) {
    if (!isRecord(item)) continue;
    const row = new Row(item);
    const name = row.text('name');
    if (name !== undefined && !rows.has(name)) rows.set(name, row);
  }
  return [...rows].map(([name, row]) => ({ name, row }));
}
