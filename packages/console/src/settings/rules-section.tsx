/** The rules in force, each with its bounds and the layers they come from; for the whole fleet, or as they stand for one node. */
import { useComputed, useSignal } from '@preact/signals';
import type { RuleLevel, RuleView } from '@tidemark/protocol';
import type { JSX } from 'preact';
import { useEffect } from 'preact/hooks';
import { LevelShape } from '../alerts/marks.tsx';
import { boundText, clearText, holdText } from '../alerts/words.ts';
import type { RuleOfNode } from '../api/client.ts';
import { explain, type Answer } from '../api/failure.ts';
import { useConsole } from '../context.ts';
import { countOf } from '../format/quantities.ts';
import { Clock } from '../look/moment.tsx';
import { Layers } from './layers.tsx';
import { rulesInForce, rulesTrouble } from './rules-in-force.ts';
import { Section } from './section.tsx';

const NODES_OFFERED = 500;

function LevelCell({ name, level, unit }: { name: 'warning' | 'critical'; level: RuleLevel | null; unit: string }): JSX.Element {
  if (level === null) return <span class="rule-level none">–</span>;
  return (
    <span class="rule-level">
      <LevelShape level={name} />
      <span>
        <span class="unseen">{name}: </span>
        {boundText(level.trigger, unit)} <span class="muted">{holdText(level)}</span>
      </span>
    </span>
  );
}

function whatOf(rule: RuleView): string {
  if (rule.metric !== null) return rule.metric;
  if (rule.observation !== null) return `${rule.observation.kind}: ${rule.observation.field}`;
  return 'the node itself';
}

function selectionText(rule: RuleView): string {
  const { nodes, sites, tags } = rule.where;
  return [
    nodes === undefined ? '' : `nodes ${nodes.join(', ')}`,
    sites === undefined ? '' : `sites ${sites.join(', ')}`,
    tags === undefined
      ? ''
      : `tags ${Object.entries(tags)
          .map(([name, value]) => `${name}=${value}`)
          .join(', ')}`,
  ]
    .filter(Boolean)
    .join('; ');
}

function RuleItem({ rule }: { rule: RuleOfNode }): JSX.Element {
  const idle = !rule.enabled
    ? 'switched off'
    : rule.inactiveBecause !== null
      ? 'inactive'
      : rule.applies === false
        ? 'not for this node'
        : null;
  const changed = rule.layers.filter((layer) => layer.layer !== 'shipped').length;
  const where = selectionText(rule);
  const labels = Object.entries(rule.labels);
  return (
    <details class={idle === null ? 'rule' : 'rule idle'} id={`rule-${rule.name}`} open={location.hash === `#rule-${rule.name}`}>
      <summary>
        <span class="rule-title">
          {rule.title}
          {idle === null ? null : <span class="chip">{idle}</span>}
          {changed === 0 ? null : <span class="chip chip-accent">{countOf(changed, 'override')}</span>}
        </span>
        <LevelCell name="warning" level={rule.warning} unit={rule.unit} />
        <LevelCell name="critical" level={rule.critical} unit={rule.unit} />
      </summary>
      <div class="rule-body">
        {rule.inactiveBecause === null ? null : <p class="warn">{rule.inactiveBecause}</p>}
        <dl class="rule-facts">
          <dt>Name</dt>
          <dd class="code">{rule.name}</dd>
          <dt>Judges</dt>
          <dd>
            <span class="code">{whatOf(rule)}</span>
            {labels.length === 0 ? null : (
              <span class="muted"> where {labels.map(([name, values]) => `${name} is ${values.join(', ')}`).join('; ')}</span>
            )}
          </dd>
          {where === '' ? null : (
            <>
              <dt>On</dt>
              <dd>{where}</dd>
            </>
          )}
          {(['critical', 'warning'] as const).map((name) => {
            const level = rule[name];
            return level === null ? null : (
              <>
                <dt>{name === 'critical' ? 'Critical' : 'Warning'}</dt>
                <dd>
                  {boundText(level.trigger, rule.unit)} {holdText(level)}; <span class="muted">{clearText(level, rule.unit)}</span>
                </dd>
              </>
            );
          })}
          {rule.suppressedBy.length === 0 ? null : (
            <>
              <dt>Moot while</dt>
              <dd>
                {rule.suppressedBy.map((name) => (
                  <a key={name} class="code" href={`#rule-${name}`}>
                    {name}
                  </a>
                ))}{' '}
                <span class="muted">is open on the same node</span>
              </dd>
            </>
          )}
          {rule.runbook === null ? null : (
            <>
              <dt>Runbook</dt>
              <dd>
                <a href={rule.runbook} target="_blank" rel="noreferrer">
                  {rule.runbook}
                </a>
              </dd>
            </>
          )}
        </dl>
        <Layers layers={rule.layers} caption="From the least to the most specific; the last that sets a thing wins" />
      </div>
    </details>
  );
}

function useRulesOf(node: string) {
  const { api } = useConsole();
  const answer = useSignal<Answer<{ rules: RuleOfNode[] }> | null>(null);
  useEffect(() => {
    answer.value = null;
    if (node === '') return undefined;
    const withdrawn = new AbortController();
    void api.rulesFor(node, withdrawn.signal).then((next) => {
      if (next.ok || next.failure.kind !== 'aborted') answer.value = next;
    });
    return () => withdrawn.abort();
  }, [api, node, rulesInForce.value]);
  return answer;
}

export function RulesSection(): JSX.Element {
  const { feed } = useConsole();
  const typed = useSignal('');
  const names = useComputed(() => (feed.figures.value?.overview.nodes ?? []).map((node) => node.name));
  const node = names.value.includes(typed.value.trim()) ? typed.value.trim() : '';
  const ofNode = useRulesOf(node).value;
  const list = rulesInForce.value;
  if (list === null)
    return (
      <Section id="rules" title="Rules">
        <p class="muted">{rulesTrouble.value === null ? 'Fetching the rules…' : explain(rulesTrouble.value)}</p>
      </Section>
    );
  const rules: readonly RuleOfNode[] = node !== '' && ofNode?.ok === true ? ofNode.value.rules : list.rules;
  return (
    <Section
      id="rules"
      title="Rules in force"
      aside={
        <div class="rules-of">
          <label for="rules-node">As they stand for</label>
          <input
            id="rules-node"
            class="field"
            list="rules-nodes"
            placeholder="the whole fleet; or a node"
            value={typed.value}
            autocomplete="off"
            spellcheck={false}
            onInput={(event) => {
              typed.value = event.currentTarget.value;
            }}
          />
          <datalist id="rules-nodes">
            {names.value.slice(0, NODES_OFFERED).map((name) => (
              <option key={name} value={name} />
            ))}
          </datalist>
        </div>
      }
    >
      <p class="muted" role="status">
        {node !== '' && ofNode !== null && !ofNode.ok ? <span class="bad">{explain(ofNode.failure)} </span> : null}
        {typed.value.trim() !== '' && node === '' ? (
          <span class="warn">No node has this name; shown are the rules for the whole fleet. </span>
        ) : null}
        {countOf(rules.length, 'rule')}{' '}
        {list.file === null ? (
          'as shipped'
        ) : (
          <>
            from <span class="code">{list.file}</span> and as shipped
          </>
        )}
        , in force since <Clock atMs={Date.parse(list.loadedAt)} />. Read only: change the file, then{' '}
        <span class="code">tidemark-collector reload</span>.
      </p>
      <div class="rule-list">
        {rules.map((rule) => (
          <RuleItem key={rule.name} rule={rule} />
        ))}
      </div>
    </Section>
  );
}
