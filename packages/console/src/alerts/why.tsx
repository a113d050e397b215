/** Why an alert fired: the sentence, the bounds and durations that were in force for this node, and from which layer each came. */
import { useSignal } from '@preact/signals';
import type { AlertView, RuleLevel, RuleView } from '@tidemark/protocol';
import type { JSX } from 'preact';
import { useEffect } from 'preact/hooks';
import { addressOf } from '../base.ts';
import { useConsole } from '../context.ts';
import { Layers } from '../settings/layers.tsx';
import { rulesInForce } from '../settings/rules-in-force.ts';
import { LevelShape } from './marks.tsx';
import { boundText, clearText, holdText } from './words.ts';

/** The rule as it stands for this node; as for the whole fleet while that is not known. */
function useRule(alert: AlertView): { rule: RuleView | null; ofNode: boolean } {
  const { api } = useConsole();
  const own = useSignal<RuleView | null>(null);
  useEffect(() => {
    const withdrawn = new AbortController();
    void api.rulesFor(alert.node, withdrawn.signal).then((answer) => {
      if (answer.ok) own.value = answer.value.rules.find((rule) => rule.name === alert.rule) ?? null;
    });
    return () => withdrawn.abort();
  }, [api, alert.node, alert.rule]);
  if (own.value !== null) return { rule: own.value, ofNode: true };
  return { rule: rulesInForce.value?.rules.find((rule) => rule.name === alert.rule) ?? null, ofNode: false };
}

function LevelLine({ name, level, unit }: { name: 'warning' | 'critical'; level: RuleLevel; unit: string }): JSX.Element {
  return (
    <li>
      <LevelShape level={name} />
      <span>
        {name === 'critical' ? 'Critical' : 'Warning'} <b>{boundText(level.trigger, unit)}</b> {holdText(level)};{' '}
        <span class="muted">{clearText(level, unit)}</span>
      </span>
    </li>
  );
}

export function Why({ alert }: { alert: AlertView }): JSX.Element {
  const { rule, ofNode } = useRule(alert);
  return (
    <section class="panel">
      <h2>Why it fired</h2>
      <p class="why-sentence">{alert.why}</p>
      {rule === null ? (
        <p class="muted">
          Its rule <span class="code">{alert.rule}</span>{' '}
          {rulesInForce.value === null ? 'is not known just now.' : 'is not in force any more.'}
        </p>
      ) : (
        <>
          <ul class="why-levels">
            {rule.critical === null ? null : <LevelLine name="critical" level={rule.critical} unit={rule.unit} />}
            {rule.warning === null ? null : <LevelLine name="warning" level={rule.warning} unit={rule.unit} />}
          </ul>
          <Layers
            layers={rule.layers}
            caption={
              <>
                Rule <a href={addressOf(`/settings#rule-${encodeURIComponent(rule.name)}`)}>{rule.name}</a>
                {ofNode ? ', as it stands for this node' : ', for the whole fleet'}; the last line that sets a thing wins
              </>
            }
          />
        </>
      )}
    </section>
  );
}
