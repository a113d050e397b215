/** The decision over every combination of facts there is: what must never happen does not happen in any of them. */
import { LIMITS, type NodeState } from '@tidemark/protocol';
import { describe, expect, test } from 'vitest';
import {
  decideEnrolment,
  type EnrolmentDecision,
  type EnrolmentFacts,
  type EnrolmentNode,
  type EnrolmentPolicy,
  type KnownSecret,
  type TokenVerdict,
} from './enrolment-decision.ts';

const MINE = 'a'.repeat(64);
const OTHERS = 'b'.repeat(64);
const POLICIES: readonly EnrolmentPolicy[] = ['open', 'approve', 'token'];
const TOKENS: readonly TokenVerdict[] = ['absent', 'valid', 'unknown', 'expired', 'used-up', 'revoked'];
const STANDINGS: readonly KnownSecret['standing'][] = ['active', 'asks', 'revoked', 'denied', 'replaced'];

function* nodes(id: number, name: string, states: readonly NodeState[]): Generator<EnrolmentNode> {
  for (const state of states)
    for (const machine of [null, MINE, OTHERS])
      // What was never approved has never reported.
      for (const everSeen of state === 'pending' ? [false] : [false, true]) yield { id, name, state, machine, everSeen };
}

/** Every combination that the database can be in: about 50,000. */
function* allFacts(): Generator<EnrolmentFacts> {
  const named = [undefined, ...nodes(1, 'n', ['pending', 'approved', 'revoked'])];
  const elsewhere = [...nodes(2, 'other', ['pending', 'approved', 'revoked', 'retired'])];
  for (const node of named) {
    const holders = [...(node === undefined ? [] : [node]), ...elsewhere];
    const known: (KnownSecret | undefined)[] = [undefined];
    for (const holder of holders) for (const standing of STANDINGS) if (possible(holder, standing)) known.push({ node: holder, standing });
    const bearers = [undefined, ...holders.filter(({ state }) => state === 'approved')];
    for (const secret of known)
      for (const bearer of bearers) {
        // A node is in one state at a time.
        if (bearer !== undefined && secret?.node.id === bearer.id && secret.node !== bearer) continue;
        for (const machine of [undefined, MINE])
          for (const policy of POLICIES)
            for (const token of TOKENS)
              for (const pendingCount of [0, LIMITS.pendingNodes])
                yield { name: 'n', machine, policy, token, named: node, known: secret, bearer, pendingCount };
      }
  }
}

const possible = ({ state }: EnrolmentNode, standing: KnownSecret['standing']): boolean =>
  standing === 'asks' ? state !== 'retired' : state !== 'pending' || standing !== 'active';

/** What the machine's person reads first. */
const REASONS: readonly (readonly [TokenVerdict, string])[] = [
  ['unknown', 'is not known here'],
  ['expired', 'has expired'],
  ['used-up', 'is used up'],
  ['revoked', 'was revoked'],
];

test.each(REASONS)('of a token that is %s it is said that it %s', (token, words) => {
  const facts = {
    name: 'n',
    machine: MINE,
    policy: 'approve',
    token,
    named: undefined,
    known: undefined,
    bearer: undefined,
    pendingCount: 0,
  } as const;
  expect(decideEnrolment(facts)).toMatchObject({
    kind: 'refuse',
    detail: expect.stringContaining(`The enrolment token ${words}`) as string,
  });
});

const GETS_IN: ReadonlySet<EnrolmentDecision['kind']> = new Set(['add', 'take', 'change', 'already']);
const all = [...allFacts()].map((facts) => ({ facts, decision: decideEnrolment(facts) }));

/** The first of all combinations in which it does not hold, to be read in the failure. */
const exception = (holds: (facts: EnrolmentFacts, decision: EnrolmentDecision) => boolean): unknown =>
  all.find(({ facts, decision }) => !holds(facts, decision));

describe('in every combination of facts', () => {
  test('there are many, and each kind of decision is among them', () => {
    expect(all.length).toBeGreaterThan(20_000);
    expect(new Set(all.map(({ decision }) => decision.kind))).toEqual(
      new Set(['already', 'waits', 'add', 'pend', 'take', 'claim', 'change', 'refuse']),
    );
  });

  test('a node that reported, or that another machine is, is never taken over without a person', () => {
    expect(
      exception(({ machine }, decision) => {
        if (decision.kind !== 'take' || decision.node.state === 'pending') return true;
        const { node } = decision;
        return node.state === 'approved' && (node.machine === null ? !node.everSeen : node.machine === machine);
      }),
    ).toBeUndefined();
  });

  test('a revoked or retired node gets in by nothing but a person', () => {
    expect(
      exception(
        (_, decision) =>
          !('node' in decision) ||
          decision.kind === 'claim' ||
          decision.kind === 'waits' ||
          ['approved', 'pending'].includes(decision.node.state),
      ),
    ).toBeUndefined();
  });

  test('a token that is given and is not valid never helps, and is never taken for none', () => {
    expect(
      exception(({ token, known, bearer }, decision) => {
        if (token === 'absent' || token === 'valid' || known !== undefined || bearer !== undefined) return true;
        return decision.kind === 'refuse' && decision.code === `enrollment_token_${token.replace('-', '_')}`;
      }),
    ).toBeUndefined();
  });

  test('nobody is let in who has neither a valid token, nor an open policy, nor a secret of the node', () => {
    expect(
      exception(({ token, policy, known, bearer }, decision) => {
        if (!GETS_IN.has(decision.kind)) return true;
        return token === 'valid' || (policy === 'open' && token === 'absent') || known?.standing === 'active' || bearer !== undefined;
      }),
    ).toBeUndefined();
  });

  test('a policy of tokens keeps strangers without one from even asking', () => {
    expect(
      exception(({ policy, token, known, bearer }, decision) => {
        if (policy !== 'token' || token !== 'absent' || known !== undefined || bearer !== undefined) return true;
        return decision.kind === 'refuse' && decision.code === 'enrollment_token_needed';
      }),
    ).toBeUndefined();
  });

  test('a secret that is known is answered as what it is, whatever the token', () => {
    expect(
      exception(({ known, bearer }, decision) => {
        if (known === undefined || bearer?.id === known.node.id) return true;
        if (known.standing === 'asks') return ['waits', 'take'].includes(decision.kind);
        if (known.standing === 'active' && known.node.state === 'approved') return decision.kind === 'already';
        return decision.kind === 'refuse' && ['node_revoked', 'node_retired'].includes(decision.code);
      }),
    ).toBeUndefined();
  });

  test('a name is changed only by the node itself, from the machine that it is, to a free name', () => {
    expect(
      exception(({ named, bearer, machine }, decision) => {
        if (decision.kind !== 'change' || !decision.rename) return true;
        const sameMachine = machine === undefined || decision.node.machine === null || decision.node.machine === machine;
        return bearer?.id === decision.node.id && sameMachine && (named === undefined || named.id === decision.node.id);
      }),
    ).toBeUndefined();
  });

  test('new ones wait only while there is room', () => {
    expect(exception(({ pendingCount }, { kind }) => kind !== 'pend' || pendingCount < LIMITS.pendingNodes)).toBeUndefined();
  });

  test('a refusal says what to do', () => {
    expect(
      exception((_, decision) => decision.kind !== 'refuse' || /[.]$|tidemark-collector enroll$/.test(decision.detail)),
    ).toBeUndefined();
  });
});

const facts = (more: Partial<EnrolmentFacts> = {}): EnrolmentFacts => ({
  name: 'n',
  machine: MINE,
  policy: 'approve',
  token: 'absent',
  named: undefined,
  known: undefined,
  bearer: undefined,
  pendingCount: 0,
  ...more,
});
const node = (more: Partial<EnrolmentNode> = {}): EnrolmentNode => ({
  id: 1,
  name: 'n',
  state: 'approved',
  machine: MINE,
  everSeen: true,
  ...more,
});
const word = (decision: EnrolmentDecision): string =>
  decision.kind === 'refuse' ? decision.code : decision.kind === 'claim' ? decision.reason : decision.kind;

test.each<[string, Partial<EnrolmentFacts>, string]>([
  ['a free name', {}, 'pend'],
  ['a free name, open', { policy: 'open' }, 'add'],
  ['a free name, tokens only', { policy: 'token' }, 'enrollment_token_needed'],
  ['a free name with a token', { policy: 'token', token: 'valid' }, 'add'],
  ['a free name when too many wait', { pendingCount: LIMITS.pendingNodes }, 'enrollments_full'],
  ['a free name with a token when too many wait', { pendingCount: LIMITS.pendingNodes, token: 'valid' }, 'add'],
  ['the same machine', { named: node() }, 'same-machine'],
  ['the same machine, open', { named: node(), policy: 'open' }, 'take'],
  ['the same machine with a token', { named: node(), token: 'valid' }, 'take'],
  ['another machine', { named: node({ machine: OTHERS }) }, 'clone-or-replacement'],
  ['another machine, open', { named: node({ machine: OTHERS }), policy: 'open' }, 'clone-or-replacement'],
  ['another machine with a token', { named: node({ machine: OTHERS }), token: 'valid' }, 'clone-or-replacement'],
  ['a machine without an id', { named: node(), machine: undefined, token: 'valid' }, 'clone-or-replacement'],
  ['a node from before machines had ids', { named: node({ machine: null }), token: 'valid' }, 'clone-or-replacement'],
  ['a node that was added and never used', { named: node({ machine: null, everSeen: false }), token: 'valid' }, 'take'],
  ['the same without a token', { named: node({ machine: null, everSeen: false }), policy: 'open' }, 'clone-or-replacement'],
  ["a revoked node's machine with a token", { named: node({ state: 'revoked' }), token: 'valid' }, 'same-machine'],
  ['one that waits, installed anew', { named: node({ state: 'pending', everSeen: false }) }, 'new'],
  ['one that waits, from another machine', { named: node({ state: 'pending', machine: OTHERS, everSeen: false }) }, 'clone-or-replacement'],
  ['one that waits, with a token', { named: node({ state: 'pending', machine: OTHERS, everSeen: false }), token: 'valid' }, 'take'],
  ['itself with a new secret', { named: node(), bearer: node() }, 'change'],
  ['itself with a new name', { bearer: node({ name: 'old' }), known: { node: node({ name: 'old' }), standing: 'active' } }, 'change'],
  ['itself under a name that is taken', { named: node({ id: 2 }), bearer: node({ name: 'old' }) }, 'name_taken'],
  [
    "a clone with the node's secret",
    { bearer: node({ name: 'old', machine: OTHERS }), known: { node: node({ name: 'old', machine: OTHERS }), standing: 'active' } },
    'state_conflict',
  ],
  ['a clone that made a secret of its own', { bearer: node({ name: 'old', machine: OTHERS }) }, 'pend'],
  ["a clone under the node's own name", { named: node({ machine: OTHERS }), bearer: node({ machine: OTHERS }) }, 'clone-or-replacement'],
])('%s', (_, more, expected) => {
  expect(word(decideEnrolment(facts(more)))).toBe(expected);
});
