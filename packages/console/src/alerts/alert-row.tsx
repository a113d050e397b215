/** An open alert as a line to act on, and many of one rule as one line that can be opened. */
import { useSignal } from '@preact/signals';
import type { AlertView } from '@tidemark/protocol';
import type { JSX } from 'preact';
import { useId } from 'preact/hooks';
import { countOf } from '../format/quantities.ts';
import { Ago } from '../look/moment.tsx';
import { alertPath, nodePath } from '../router.ts';
import { SilenceButton } from '../silences/silencing.tsx';
import { partsOfAlert, partsOfGroup } from '../silences/matcher.ts';
import { AcknowledgeButton } from './acknowledging.tsx';
import { labelsText, type Group } from './arrange.ts';
import { HeldBy, LevelMark } from './marks.tsx';
import { isCalling } from './open-alerts.ts';
import { alertName } from './words.ts';

/** So many of an opened group are drawn; the rest has to be asked for. */
const GROUP_SHOWN = 25;

export function AlertRow({ alert, mayChange }: { alert: AlertView; mayChange: boolean }): JSX.Element {
  const labels = labelsText(alert.labels);
  return (
    <li class={`alert-row alert-${alert.level}`} data-alert={alert.id}>
      <LevelMark level={alert.level} />
      <div class="alert-what">
        <p class="alert-title">
          <a href={alertPath(alert.id)}>{alert.title}</a>
          <a class="alert-node" href={nodePath(alert.node)} title={alert.node}>
            <bdi>{alert.node}</bdi>
          </a>
          {alert.site === '' ? null : <span class="muted">{alert.site}</span>}
          {labels === '' ? null : (
            <span class="tags" title={labels}>
              {labels}
            </span>
          )}
        </p>
        <p class="alert-why">{alert.why}</p>
      </div>
      <div class="alert-held">
        <HeldBy alert={alert} />
      </div>
      <div class="alert-since">
        <Ago at={alert.since} />
      </div>
      {mayChange ? (
        <div class="alert-acts">
          {alert.acknowledged === null ? (
            <AcknowledgeButton alerts={[alert]} class={isCalling(alert) ? 'button act-main' : 'button'} />
          ) : null}
          {alert.silencedBy === null ? <SilenceButton parts={() => partsOfAlert(alert)} name={alertName(alert)} /> : null}
        </div>
      ) : null}
    </li>
  );
}

/** "Node silent on 41 nodes at porto". */
function groupText(group: Group): string {
  const where = group.site === null ? `at ${countOf(group.sites, 'site')}` : group.site === '' ? '' : `at ${group.site}`;
  const many = group.nodes === group.alerts.length ? '' : ` (${countOf(group.alerts.length, 'alert')})`;
  return `on ${countOf(group.nodes, 'node')} ${where}${many}`.trim();
}

export function GroupRow({ group, mayChange }: { group: Group; mayChange: boolean }): JSX.Element {
  const open = useSignal(false);
  const shown = useSignal(GROUP_SHOWN);
  const list = useId();
  const waiting = group.alerts.filter((alert) => alert.acknowledged === null);
  const first = group.alerts[0]!;
  const oldest = group.alerts.reduce((least, alert) => (alert.since < least ? alert.since : least), first.since);
  const silenced = group.alerts.filter((alert) => alert.silencedBy !== null).length;
  const covered = group.alerts.filter((alert) => alert.suppressedBy !== null).length;
  return (
    <li class={`alert-group alert-${group.level}`}>
      <div class="alert-row">
        <LevelMark level={group.level} />
        <div class="alert-what">
          <p class="alert-title">
            <button
              type="button"
              class="group-toggle"
              aria-expanded={open.value}
              aria-controls={list}
              onClick={() => {
                open.value = !open.value;
              }}
            >
              <svg class="chevron" width="10" height="10" viewBox="0 0 10 10" aria-hidden="true">
                <path
                  d="M3 1.5 6.5 5 3 8.5"
                  fill="none"
                  stroke="currentColor"
                  stroke-width="1.6"
                  stroke-linecap="round"
                  stroke-linejoin="round"
                />
              </svg>
              <span>{group.title}</span> <span class="group-where">{groupText(group)}</span>
            </button>
          </p>
          <p class="alert-why">
            {group.alerts
              .slice(0, 3)
              .map((alert) => alert.node)
              .join(', ')}
            {group.alerts.length > 3 ? ` and ${countOf(group.alerts.length - 3, 'other')}` : ''}
            {oldest === first.since ? null : (
              <>
                {' '}
                · the first <Ago at={oldest} />
              </>
            )}
          </p>
        </div>
        <div class="alert-held">
          {waiting.length < group.alerts.length ? <span class="chip">{group.alerts.length - waiting.length} acknowledged</span> : null}
          {silenced > 0 ? <span class="chip">{silenced} silenced</span> : null}
          {covered > 0 ? <span class="chip">{covered} covered by another</span> : null}
        </div>
        <div class="alert-since">
          <Ago at={first.since} />
        </div>
        {mayChange ? (
          <div class="alert-acts">
            {waiting.length === 0 ? null : (
              <AcknowledgeButton
                alerts={waiting}
                label={`Acknowledge ${waiting.length}`}
                class={waiting.some((alert) => isCalling(alert)) ? 'button act-main' : 'button'}
              />
            )}
            <SilenceButton parts={() => partsOfGroup(group)} name={`${group.title} ${groupText(group)}`} />
          </div>
        ) : null}
      </div>
      <ul class="group-list" id={list} hidden={!open.value}>
        {open.value
          ? group.alerts.slice(0, shown.value).map((alert) => <AlertRow key={alert.id} alert={alert} mayChange={mayChange} />)
          : null}
        {open.value && group.alerts.length > shown.value ? (
          <li class="more">
            <button
              type="button"
              class="button"
              onClick={() => {
                shown.value += 100;
              }}
            >
              Show {Math.min(100, group.alerts.length - shown.value)} more of {group.alerts.length - shown.value}
            </button>
          </li>
        ) : null}
      </ul>
    </li>
  );
}
