/** What is expected of instances: state, role, upstream, lag, backlog, ETA. */
import { REPLICATION_STATES, type ReplicationInstance, type ReplicationLag } from '@tidemark/protocol';
import { showBytes, showSeconds } from '../language/units.ts';
import type { Condition, Judgement, Look } from './condition.ts';
import type { Values } from '../language/forms.ts';

const STATES = REPLICATION_STATES.join('|');

/** Judges an instance; one that is not published is never what is expected. */
const of =
  (judge: (instance: ReplicationInstance, values: Values, look: Look) => Judgement): Condition['test'] =>
  (look, values) => {
    const letter = values.text('server');
    const instance = look.instance(letter);
    return instance === undefined ? { holds: false, seen: `${letter} is not published` } : judge(instance, values, look);
  };

export const showLag = (lag: ReplicationLag | null): string =>
  lag === null
    ? 'not known'
    : `${showSeconds(lag.seconds)} (${showSeconds(lag.lowerSeconds)} to ${lag.upperSeconds === null ? 'nobody knows' : showSeconds(lag.upperSeconds)}, by the ${lag.source}${lag.unknownSince === null ? '' : `, unknown since ${lag.unknownSince}`})`;

const LAGS = {
  lag: (instance: ReplicationInstance) => instance.lag,
  edge: (instance: ReplicationInstance) => instance.edgeLag,
};

/** The lag's value, or the bound that is named. */
function secondsOf(lag: ReplicationLag, which: string): number {
  if (which === 'lower') return lag.lowerSeconds;
  if (which === 'upper') return lag.upperSeconds ?? Number.POSITIVE_INFINITY;
  return lag.seconds;
}

function lagCondition(form: string, means: string, pick: keyof typeof LAGS, which: string): Condition {
  return {
    form,
    means,
    test: of((instance, values) => {
      const lag = LAGS[pick](instance);
      const seen = `the lag of ${values.text('server')} is ${showLag(lag)}`;
      if (lag === null) return { holds: false, seen };
      const seconds = secondsOf(lag, which);
      const bound = values.number('bound') / 1000;
      return { holds: values.text('how') === 'above' ? seconds > bound : seconds < bound, seen };
    }),
  };
}

export const INSTANCE_CONDITIONS: readonly Condition[] = [
  {
    form: `state of <server:server> is <state:${STATES}> [or <other:${STATES}>]`,
    means: 'the state that is published of it',
    test: of(({ state, why }, values) => ({
      holds: state === values.text('state') || state === values.maybeText('other'),
      seen: `the state of ${values.text('server')} is ${state}: ${why}`,
    })),
  },
  {
    form: `state of <server:server> is not <state:${STATES}> [or <other:${STATES}>]`,
    means: 'any other',
    test: of(({ state, why }, values) => ({
      holds: state !== values.text('state') && state !== values.maybeText('other'),
      seen: `the state of ${values.text('server')} is ${state}: ${why}`,
    })),
  },
  {
    form: 'why of <server:server> mentions <text:text>',
    means: 'the sentence beside its state has these words',
    test: of(({ why }, values) => ({
      holds: why.toLowerCase().includes(values.text('text').toLowerCase()),
      seen: `of ${values.text('server')} it says: ${why}`,
    })),
  },
  {
    form: 'role of <server:server> is <role:primary|replica|unknown>',
    means: 'the role that is published of it',
    test: of(({ role }, values) => ({ holds: role === values.text('role'), seen: `the role of ${values.text('server')} is ${role}` })),
  },
  {
    form: 'upstream of <server:server> is <upstream:server>',
    means: 'whom it is held to receive from',
    test: of(({ upstream, upstreamId, upstreamBy }, values, look) => {
      const wanted = look.instance(values.text('upstream'));
      return {
        holds: upstreamId !== null && upstreamId === wanted?.id,
        seen: `the upstream of ${values.text('server')} is ${upstream ?? 'not known'}${upstreamBy === null ? '' : ` by ${upstreamBy}`}`,
      };
    }),
  },
  {
    form: 'timeline of <server:server> is <timeline:number>',
    means: 'the timeline that is published of it',
    test: of(({ timeline }, values) => ({
      holds: timeline === values.number('timeline'),
      seen: `the timeline of ${values.text('server')} is ${timeline}`,
    })),
  },
  lagCondition(
    'lag of <server:server> is <how:above|below> <bound:duration>',
    'seconds behind the primary: the likeliest value',
    'lag',
    'value',
  ),
  lagCondition(
    'lower bound of <server:server> is <how:above|below> <bound:duration>',
    'the bound that alarms are judged on',
    'lag',
    'lower',
  ),
  lagCondition('upper bound of <server:server> is <how:above|below> <bound:duration>', 'an open one is above everything', 'lag', 'upper'),
  lagCondition('edge lag of <server:server> is <how:above|below> <bound:duration>', 'seconds behind its own upstream', 'edge', 'value'),
  {
    form: 'lag of <server:server> is not known',
    means: 'nothing is published: neither a value nor 0',
    test: of(({ lag }, values) => ({ holds: lag === null, seen: `the lag of ${values.text('server')} is ${showLag(lag)}` })),
  },
  {
    form: 'lag of <server:server> is open',
    means: '"at least so much, not known since": the upper bound is open',
    test: of(({ lag }, values) => ({
      holds: lag !== null && (lag.upperSeconds === null || lag.unknownSince !== null),
      seen: `the lag of ${values.text('server')} is ${showLag(lag)}`,
    })),
  },
  {
    form: 'bytes behind of <server:server> is <how:above|below> <bound:size>',
    means: 'WAL between the primary and what it has replayed',
    test: of(({ lag }, values) => compareBytes(`${values.text('server')} is behind by`, lag?.bytes ?? null, values)),
  },
  {
    form: 'transport backlog of <server:server> is <how:above|below> <bound:size>',
    means: 'written upstream and not received',
    test: of(({ transportBytes }, values) => compareBytes(`the transport backlog of ${values.text('server')} is`, transportBytes, values)),
  },
  {
    form: 'replay backlog of <server:server> is <how:above|below> <bound:size>',
    means: 'received and not replayed',
    test: of(({ replayBytes }, values) => compareBytes(`the replay backlog of ${values.text('server')} is`, replayBytes, values)),
  },
  {
    form: 'catchup of <server:server> is <how:caught_up|converging|never|unknown> [or <other:caught_up|converging|never|unknown>]',
    means: 'what is published of its catching up',
    test: of(({ catchup, catchupSeconds }, values) => ({
      holds: catchup === values.text('how') || catchup === values.maybeText('other'),
      seen: `the catchup of ${values.text('server')} is ${catchup}${catchupSeconds === null ? '' : ` in ${showSeconds(catchupSeconds)}`}`,
    })),
  },
  {
    form: 'catchup time of <server:server> is <how:above|below> <bound:duration>',
    means: 'the seconds until it has caught up',
    test: of(({ catchup, catchupSeconds }, values) => ({
      holds:
        catchupSeconds !== null &&
        (values.text('how') === 'above' ? catchupSeconds * 1000 > values.number('bound') : catchupSeconds * 1000 < values.number('bound')),
      seen: `the catchup of ${values.text('server')} is ${catchup}${catchupSeconds === null ? '' : ` in ${showSeconds(catchupSeconds)}`}`,
    })),
  },
];

export function compareBytes(what: string, bytes: number | null, values: Values): Judgement {
  return {
    holds: bytes !== null && (values.text('how') === 'above' ? bytes > values.number('bound') : bytes < values.number('bound')),
    seen: `${what} ${bytes === null ? 'not known' : showBytes(bytes)}`,
  };
}
