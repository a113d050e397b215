/** Every kind of channel, one line each, and the option of the configuration file that declares channels. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { TagName } from '@tidemark/protocol';
import { EXIT, OperationalFailure, schemaMistakes, type Mistake, type OptionDeclaration } from '@tidemark/service';
import { Type, type Static, type TObject } from 'typebox';
import type { NotifyChannel } from '../lane.ts';
import type { ChannelKind } from './channel.ts';
import { email, emailMistakes, type EmailOptions } from './email.ts';
import { webhook } from './webhook.ts';

/** The kinds there are. */
const KINDS: readonly ChannelKind<never>[] = [webhook, email];

const MAX_CHANNELS = 50;
const Patterns = Type.Array(Type.String({ minLength: 1, maxLength: 253 }), {
  minItems: 1,
  maxItems: 100,
  wanted: 'a list of names; * stands for any characters',
});
const Level = Type.Union([Type.Literal('warning'), Type.Literal('critical')], { wanted: 'warning or critical' });
const OnlyOption = Type.Object(
  {
    levels: Type.Optional(Type.Array(Level, { minItems: 1, wanted: 'a list of warning and critical' })),
    rules: Type.Optional(Patterns),
    sites: Type.Optional(Patterns),
    nodes: Type.Optional(Patterns),
    tags: Type.Optional(Type.Record(TagName, Type.String({ maxLength: 200 }), { wanted: 'tags and their values' })),
  },
  { additionalProperties: false },
);
const Shared = {
  name: Type.String({ pattern: '^[a-z0-9][a-z0-9-]{0,62}$', wanted: 'a name of small letters, digits and hyphens' }),
  kind: Type.String(),
  only: Type.Optional(OnlyOption),
};

/** One channel as the configuration file has it. */
export type ChannelConfig = Static<TObject<typeof Shared>> & Readonly<Record<string, unknown>>;

const full = (kind: ChannelKind<never>): TObject =>
  Type.Object({ ...Shared, kind: Type.Literal(kind.kind), ...kind.options.properties }, { additionalProperties: false });

/** The option `channels`, for `declareOptions`. */
export const channelsOption = {
  schema: Type.Unsafe<ChannelConfig[]>(Type.Array(Type.Union(KINDS.map(full)))),
  description: `whom to tell of alerts: a list of channels (${KINDS.map(({ kind }) => kind).join(', ')}); see docs/how-to/webhooks.md and docs/how-to/email.md`,
  fileOnly: true,
  default: [] as ChannelConfig[],
  secret: true,
  mistakesOf: channelMistakes,
} as const satisfies OptionDeclaration;

/** Everything that is wrong with a list of channels, each with the way to where it stands. */
function channelMistakes(value: unknown): Mistake[] {
  if (!Array.isArray(value)) return [{ path: [], text: 'must be a list of channels, each with name and kind' }];
  if (value.length > MAX_CHANNELS) return [{ path: [], text: `must be at most ${MAX_CHANNELS} channels` }];
  const names = new Map<string, number>();
  return value.flatMap((item: unknown, i): Mistake[] => {
    const at = String(i);
    if (typeof item !== 'object' || item === null || Array.isArray(item))
      return [{ path: [at], text: `channel ${i + 1} must have name and kind` }];
    const { name, kind: kindName } = item as { name?: unknown; kind?: unknown };
    const who = typeof name === 'string' ? JSON.stringify(name.slice(0, 100)) : `channel ${i + 1}`;
    const kind = KINDS.find((one) => one.kind === kindName);
    if (kind === undefined)
      return [{ path: [at, 'kind'], text: `${who}: kind: must be one of ${KINDS.map((one) => one.kind).join(', ')}` }];
    // An address may hold a password or a key: what is wrong with it is said without it.
    const mistakes = schemaMistakes(full(kind), item).map(({ path, text }) => ({
      path,
      text: path.at(-1) === 'url' ? text.replace(/ \(got .*\)$/, '') : text,
    }));
    const twin = typeof name === 'string' ? names.get(name) : undefined;
    if (twin !== undefined) mistakes.push({ path: ['name'], text: `name: channel ${twin + 1} has the same` });
    if (typeof name === 'string') names.set(name, i);
    if (mistakes.length === 0 && kindName === 'email') mistakes.push(...emailMistakes(item as unknown as EmailOptions));
    return mistakes.map(({ path, text }) => ({ path: [at, ...path], text: `${who}: ${text}` }));
  });
}

/**
 * Makes the declared channels. Throws an OperationalFailure that names every file that cannot be used; then none is made.
 * The list has passed `channelsOption`.
 */
export function createChannels(declared: readonly ChannelConfig[]): NotifyChannel[] {
  const mistakes: string[] = [];
  const made: NotifyChannel[] = [];
  for (const config of declared) {
    const kind = KINDS.find((one) => one.kind === config.kind)!;
    const { name, kind: _, only = {}, ...options } = config;
    try {
      made.push({
        name,
        kind: kind.kind,
        only,
        channel: kind.make(options as never),
        fingerprint: fingerprintOf(config),
        attemptMs: kind.attemptMs,
      });
    } catch (error) {
      if (!(error instanceof OperationalFailure)) throw error;
      mistakes.push(`channel ${JSON.stringify(name)}: ${error.message}`);
    }
  }
  if (mistakes.length === 0) return made;
  for (const { channel } of made) void channel.close?.();
  throw new OperationalFailure(
    mistakes.length === 1 ? mistakes[0]! : `${mistakes.length} mistakes in the channels:\n${mistakes.map((m) => `  ${m}`).join('\n')}`,
    EXIT.configuration,
  );
}

/** A digest of all options, with what is in the files they name: another digest is another destination. */
function fingerprintOf(config: ChannelConfig): string {
  const hash = createHash('sha256').update(JSON.stringify(sorted(config)));
  for (const [key, path] of Object.entries(config).toSorted(([a], [b]) => (a < b ? -1 : 1)))
    if (key.endsWith('File') && typeof path === 'string') hash.update(`\n${key}:`).update(readFileSync(path));
  return hash.digest('hex').slice(0, 16);
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, part]) => [key, sorted(part)]),
  );
}
