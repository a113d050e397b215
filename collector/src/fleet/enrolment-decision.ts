/**
 * What becomes of a machine that asks to be a node: one pure decision, made of facts that the caller read under one lock.
 * Nobody gets the name of a node that another machine holds without a person's word, whatever token it shows.
 */
import { LIMITS, machineCode, notApproved, replacedBy, type ClaimReason, type NodeState, type ProblemCode } from '@tidemark/protocol';

export type EnrolmentPolicy = 'open' | 'approve' | 'token';
export type TokenVerdict = 'absent' | 'valid' | 'unknown' | 'expired' | 'used-up' | 'revoked';

/** A node as the decision needs it. */
export interface EnrolmentNode {
  readonly id: number;
  readonly name: string;
  readonly state: NodeState;
  /** The machine that it is; of one that was never approved, the machine that asks. */
  readonly machine: string | null;
  /** Whether a report of it was ever taken. */
  readonly everSeen: boolean;
}

/** What the offered secret is here already. */
export interface KnownSecret {
  readonly node: EnrolmentNode;
  /** `active`: it is (one of) the node's. `asks`: it waits for a person. */
  readonly standing: 'active' | 'asks' | 'revoked' | 'denied' | 'replaced';
}

export interface EnrolmentFacts {
  readonly name: string;
  readonly machine: string | undefined;
  readonly policy: EnrolmentPolicy;
  readonly token: TokenVerdict;
  /** The node that has the name; a retired one has none. */
  readonly named: EnrolmentNode | undefined;
  readonly known: KnownSecret | undefined;
  /** The approved node whose secret the request was sent with. */
  readonly bearer: EnrolmentNode | undefined;
  /** Nodes that wait for their first approval. */
  readonly pendingCount: number;
}

export type EnrolmentDecision =
  /** The secret is the node's; nothing is to be done. */
  | { readonly kind: 'already'; readonly node: EnrolmentNode }
  /** It asks already; that it asked again is noted. */
  | { readonly kind: 'waits'; readonly node: EnrolmentNode }
  /** A new node, approved. */
  | { readonly kind: 'add' }
  /** A new node that waits. */
  | { readonly kind: 'pend' }
  /** The node's secret is replaced, with overlap; one that waited is approved. */
  | { readonly kind: 'take'; readonly node: EnrolmentNode }
  /** It waits for a person, and the node goes on as it is. */
  | { readonly kind: 'claim'; readonly node: EnrolmentNode; readonly reason: ClaimReason }
  /** The node itself asks: for another name, for another secret, or both. */
  | { readonly kind: 'change'; readonly node: EnrolmentNode; readonly rename: boolean; readonly rotate: boolean }
  | { readonly kind: 'refuse'; readonly code: ProblemCode; readonly detail: string };

const refuse = (code: ProblemCode, detail: string): EnrolmentDecision => ({ kind: 'refuse', code, detail });

const TOKEN_REFUSALS: Readonly<Record<Exclude<TokenVerdict, 'absent' | 'valid'>, EnrolmentDecision>> = {
  unknown: refuse(
    'enrollment_token_unknown',
    'The enrolment token is not known here: was it made by another collector, cut, or deleted after a month? Make a new one on this collector: tidemark-collector enroll',
  ),
  expired: refuse(
    'enrollment_token_expired',
    'The enrolment token has expired. Make a new one on the collector: tidemark-collector enroll',
  ),
  'used-up': refuse(
    'enrollment_token_used_up',
    'The enrolment token is used up. Make a new one on the collector (--uses N for several machines): tidemark-collector enroll',
  ),
  revoked: refuse(
    'enrollment_token_revoked',
    'The enrolment token was revoked. Make a new one on the collector: tidemark-collector enroll',
  ),
};

export function decideEnrolment(facts: EnrolmentFacts): EnrolmentDecision {
  const { known, bearer } = facts;
  if (bearer !== undefined && (known === undefined || known.node.id === bearer.id)) {
    const decision = ofItself(facts, bearer);
    if (decision !== undefined) return decision;
  }
  if (known !== undefined) return again(facts, known);
  return ofStranger(facts);
}

/** A request with the node's own secret. Undefined: it proves nothing, for another machine has a copy of it. */
function ofItself({ name, machine, named, known }: EnrolmentFacts, node: EnrolmentNode): EnrolmentDecision | undefined {
  if (known !== undefined && known.standing !== 'active') return undefined;
  const rename = name !== node.name;
  const rotate = known === undefined;
  if (!rename && !rotate) return { kind: 'already', node };
  if (machine !== undefined && node.machine !== null && machine !== node.machine) {
    if (rotate) return undefined;
    return refuse(
      'state_conflict',
      `The secret that this machine (${machineCode(machine)}) shows is that of ${JSON.stringify(node.name)}, which is another machine (${machineCode(node.machine)}). Was it cloned? Delete the agent's secret on the clone, and enrol it again.`,
    );
  }
  if (rename && named !== undefined && named.id !== node.id)
    return refuse('name_taken', `${JSON.stringify(name)} is the name of another node; this one stays ${JSON.stringify(node.name)}.`);
  return { kind: 'change', node, rename, rotate };
}

function again(facts: EnrolmentFacts, { node, standing }: KnownSecret): EnrolmentDecision {
  if (node.state === 'retired' && standing !== 'denied')
    return refuse(
      'node_retired',
      `${JSON.stringify(node.name)} has been retired. To bring the machine back, delete the agent's secret on it and enrol it again.`,
    );
  switch (standing) {
    case 'denied':
      return refuse('node_revoked', notApproved(node.name));
    case 'replaced':
      return refuse('node_revoked', replacedBy(node.name));
    case 'revoked':
      return refuse('node_revoked', `The secret of ${JSON.stringify(node.name)} has been revoked.`);
    case 'active':
      if (node.state === 'revoked') return refuse('node_revoked', `${JSON.stringify(node.name)} has been revoked.`);
      return node.state === 'pending' ? { kind: 'waits', node } : { kind: 'already', node };
    case 'asks': {
      // A token that came later, or a policy that was opened, helps one that waits; nothing makes it worse.
      const mayEnter = facts.name === node.name && (facts.token === 'valid' || (facts.token === 'absent' && facts.policy === 'open'));
      const decision = mayEnter ? ofNamed({ ...facts, named: node }, node) : undefined;
      return decision?.kind === 'take' ? decision : { kind: 'waits', node };
    }
  }
}

function ofStranger(facts: EnrolmentFacts): EnrolmentDecision {
  const { token, policy, named, pendingCount } = facts;
  if (token !== 'absent' && token !== 'valid') return TOKEN_REFUSALS[token];
  if (token === 'absent' && policy === 'token')
    return refuse(
      'enrollment_token_needed',
      'Make one on the collector, and give it to the installer with --token-file: tidemark-collector enroll',
    );
  if (named !== undefined) return ofNamed(facts, named);
  if (token === 'valid' || policy === 'open') return { kind: 'add' };
  if (pendingCount >= LIMITS.pendingNodes)
    return refuse(
      'enrollments_full',
      `${pendingCount} machines wait to be approved. Approve or deny some (tidemark-collector nodes list), or use an enrolment token.`,
    );
  return { kind: 'pend' };
}

/** The token, when there is one, is valid. */
function ofNamed({ machine, token, policy }: EnrolmentFacts, node: EnrolmentNode): EnrolmentDecision {
  const sameMachine = machine !== undefined && machine === node.machine;
  const mayEnter = token === 'valid' || policy === 'open';
  if (node.state === 'pending') {
    // Nobody was ever approved under this name: whom a token sends comes before whoever waits.
    if (mayEnter) return { kind: 'take', node };
    return { kind: 'claim', node, reason: sameMachine ? 'new' : 'clone-or-replacement' };
  }
  const reason: ClaimReason = sameMachine ? 'same-machine' : 'clone-or-replacement';
  if (node.state === 'revoked') return { kind: 'claim', node, reason };
  const unused = node.machine === null && !node.everSeen;
  if (sameMachine ? mayEnter : unused && token === 'valid') return { kind: 'take', node };
  return { kind: 'claim', node, reason };
}
