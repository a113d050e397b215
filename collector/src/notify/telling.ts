/** Why a channel was told of an alert, or was not, in one sentence each. Reads what the plan reads, so that it says what is done. */
import type { ChannelView, ToldView } from '@tidemark/protocol';
import type { Book, Delivery, Incident } from '../incidents/entry.ts';
import type { Lane } from './lane.ts';
import { identityOf, onlyInWords, type NodeLookup } from './only.ts';
import { mutedFor, type PlanContext } from './plan.ts';

export interface TellingLine {
  readonly channel: string;
  readonly text: string;
}

export function tellingOf(book: Book, lanes: Iterable<Lane>, incident: Incident, context: PlanContext): TellingLine[] {
  const lines: TellingLine[] = [];
  const known = new Set<string>();
  for (const lane of lanes) {
    known.add(lane.channel.name);
    lines.push({ channel: lane.channel.name, text: sentence(book, lane, incident, context) });
  }
  for (const [channel, told] of incident.told)
    if (!known.has(channel)) lines.push({ channel, text: `told ${told.status} at ${time(told.at)}; it is no longer configured` });
  return lines;
}

function sentence(book: Book, lane: Lane, incident: Incident, context: PlanContext): string {
  const { name } = lane.channel;
  const told = incident.told.get(name);
  if (told === undefined) return `not told: ${whyNot(book, lane, incident, context)}`;
  const what = told.status === 'firing' ? `firing (${told.level})` : 'resolved';
  const answer = lane.answerTo(told.deliveryId);
  if (told.confirmed) {
    const arrived = `told ${what} at ${time(told.at)}${answer === undefined ? '' : ` (${answer})`}`;
    const more = pendingChange(incident, told);
    if (more === undefined) return arrived;
    const reason = incident.closedAt === null ? mutedFor(book, lane.channel.only, incident, context) : undefined;
    return `${arrived}; ${more} ${reason === undefined ? 'is next' : `is not: ${whyMuted(reason, lane, context.nodeOf)}`}`;
  }
  let delivery: Delivery | undefined;
  for (const one of book.deliveries()) if (one.deliveryId === told.deliveryId) delivery = one;
  if (lane.gone !== undefined)
    return `not told ${what}: the channel is disabled, it asked for nothing more at ${time(lane.gone.at)} (${lane.gone.answer})`;
  if (delivery === undefined)
    return `not told ${what}: it was refused at ${time(told.at)}${answer === undefined ? '' : ` (${answer})`}; tried again at the next change, and when a test goes through`;
  const attempts = delivery.attempt === 1 ? 'one attempt' : `${delivery.attempt} attempts`;
  if (delivery.retryAt === null) return `being told ${what}: ${attempts}, the answer is awaited`;
  const wait = lane.untilRetryMs(told.deliveryId);
  return `waiting to tell ${what}: ${attempts}${answer === undefined ? '' : `, last answer ${answer}`}, next ${wait === 0 ? 'now' : `in ${Math.ceil(wait / 1_000)} s`}`;
}

function pendingChange(incident: Incident, told: NonNullable<ReturnType<Incident['told']['get']>>): string | undefined {
  if (told.status !== 'firing') return undefined;
  if (incident.closedAt !== null) return 'that it is over';
  return incident.level === 'critical' && told.level === 'warning' ? 'that it is critical now' : undefined;
}

function whyNot(book: Book, lane: Lane, incident: Incident, context: PlanContext): string {
  if (incident.closedAt !== null) return 'it was over before anything was sent';
  const muted = mutedFor(book, lane.channel.only, incident, context);
  if (muted !== undefined) return whyMuted(muted, lane, context.nodeOf);
  if (lane.gone !== undefined) return `the channel is disabled, it asked for nothing more at ${time(lane.gone.at)} (${lane.gone.answer})`;
  if (lane.trouble === 'unrecorded') return lane.lastAnswer;
  if (lane.trouble === 'failing') return `the channel does not take messages (${lane.lastAnswer}); it is tried again`;
  return 'it is next';
}

function whyMuted(muted: NonNullable<ReturnType<typeof mutedFor>>, lane: Lane, nodeOf: NodeLookup): string {
  if (muted.by === 'only') return `this channel is told only: ${onlyInWords(lane.channel.only)}`;
  if (muted.by === 'silence') return `silenced by ${muted.silence.author} until ${time(muted.silence.endsAt)} (${muted.silence.reason})`;
  return `moot while "${muted.incident.title}" is open on ${identityOf(muted.incident, nodeOf).name}`;
}

const time = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19).replace('T', ' ')} UTC`;

/** What each channel was last told, as the API shows it. */
export function toldViews(incident: Incident): ToldView[] {
  return [...incident.told].map(([channel, { status, level, at, confirmed }]) => ({
    channel,
    status,
    level,
    at: new Date(at).toISOString(),
    confirmed,
  }));
}

/** How a channel stands. */
export function channelView(lane: Lane): ChannelView {
  const { name, kind, only, channel } = lane.channel;
  const { gone, trouble, lastDeliveredAt, lastAnswer } = lane;
  const work = lane.plan();
  const state = gone !== undefined ? 'disabled' : trouble !== 'none' ? 'retrying' : lastDeliveredAt === null ? 'unused' : 'working';
  const detail =
    gone !== undefined
      ? `it asked for nothing more at ${time(gone.at)} (${gone.answer}); change its options, or test it`
      : trouble === 'refused'
        ? `the last message was refused: ${lastAnswer}; tried again at the next change`
        : lastAnswer === ''
          ? 'nothing was sent since the collector started'
          : lastAnswer;
  return {
    name,
    kind,
    destination: channel.destination,
    only: onlyInWords(only),
    state,
    detail,
    waiting: work.fresh.length + work.repeats.length + work.held.length,
    lastDeliveredAt: lastDeliveredAt === null ? null : new Date(lastDeliveredAt).toISOString(),
  };
}
