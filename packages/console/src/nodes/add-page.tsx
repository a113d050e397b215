/** Adding nodes: a token that lets one machine or a fleet in, shown once inside finished commands; or without one, to be approved. */
import { useSignal, type Signal } from '@preact/signals';
import type { NewEnrollment } from '@tidemark/protocol';
import type { JSX } from 'preact';
import { explain, type Failure } from '../api/failure.ts';
import { addressOf, collectorUrl } from '../base.ts';
import { useConsole } from '../context.ts';
import { countOf } from '../format/quantities.ts';
import { formatClock } from '../format/times.ts';
import { Command } from '../look/command.tsx';
import { AddNode } from '../node/add-node.tsx';
import { InstallSteps } from '../node/install-steps.tsx';
import { nodePath } from '../router.ts';
import { useMayChange } from '../session/rights.ts';
import './nodes.css';

const HOUR_SECONDS = 3_600;
const TIMES: readonly { seconds: number; label: string }[] = [
  { seconds: HOUR_SECONDS, label: 'an hour' },
  { seconds: 24 * HOUR_SECONDS, label: 'a day' },
  { seconds: 7 * 24 * HOUR_SECONDS, label: 'a week' },
  { seconds: 30 * 24 * HOUR_SECONDS, label: '30 days' },
];
const MACHINES_MOST = 100_000;

/** "env=production role=db" as tags; null when it is not of this form. */
export function tagsOf(text: string): Record<string, string> | null {
  const tags: Record<string, string> = {};
  for (const word of text.split(/[\s,]+/).filter(Boolean)) {
    const [, name, value] = /^([A-Za-z_][A-Za-z0-9_.-]*)=(.*)$/.exec(word) ?? [];
    if (name === undefined || value === undefined) return null;
    tags[name] = value;
  }
  return tags;
}

interface FieldProps {
  id: string;
  label: string;
  hint?: string;
  value: Signal<string>;
  placeholder?: string;
  type?: string;
  min?: number;
  max?: number;
}

function Field({ id, label, hint, value, ...input }: FieldProps): JSX.Element {
  return (
    <label for={id}>
      {label}
      <input
        id={id}
        class="field"
        value={value.value}
        maxLength={1_000}
        autocomplete="off"
        autocapitalize="off"
        spellcheck={false}
        onInput={(event) => {
          value.value = event.currentTarget.value;
        }}
        {...input}
      />
      {hint === undefined ? null : <span class="remark">{hint}</span>}
    </label>
  );
}

interface Made {
  string: string;
  uses: number;
  expiresAt: string;
  name: string | undefined;
}

/** Whether the machine has come, without a look elsewhere. */
function Arrival({ name }: { name: string }): JSX.Element {
  const { feed } = useConsole();
  const node = feed.figures.value?.overview.nodes.find((each) => each.name === name);
  return (
    <p class="arrival" role="status">
      {node === undefined || !node.up ? (
        <>
          <span class="waiting-dot" aria-hidden="true" /> Waiting for the first report of <bdi>{name}</bdi>…
        </>
      ) : (
        <>
          <strong>
            <bdi>{name}</bdi> reports.
          </strong>{' '}
          <a href={nodePath(name)}>Look at it</a>
        </>
      )}
    </p>
  );
}

function Commands({ made, onAnother }: { made: Made; onAnother: () => void }): JSX.Element {
  return (
    <div class="token-once">
      <p class="token-warning">
        This is the only time this string is shown. Whoever has it can add{' '}
        {made.uses === 1 ? 'one node' : `up to ${countOf(made.uses, 'node')}`} until {formatClock(Date.parse(made.expiresAt), 0)}.
      </p>
      <Command label="the enrolment string" text={made.string} />
      <p>
        On the {made.uses === 1 ? 'machine' : 'machines'}: the first command asks for the string, so that it stays out of the shell's
        history.
      </p>
      <InstallSteps enrolment={made.string} name={made.name} />
      {made.name === undefined ? null : <Arrival name={made.name} />}
      <p class="add-another">
        <button type="button" class="button" onClick={onAnother}>
          Add another
        </button>
      </p>
    </div>
  );
}

function AddForm(): JSX.Element {
  const { api, feed } = useConsole();
  const name = useSignal('');
  const site = useSignal('');
  const tags = useSignal('');
  const machines = useSignal('1');
  const seconds = useSignal(24 * HOUR_SECONDS);
  const busy = useSignal(false);
  const failure = useSignal<Failure | null>(null);
  const made = useSignal<Made | null>(null);
  if (made.value !== null)
    return (
      <Commands
        made={made.value}
        onAnother={() => {
          made.value = null;
          name.value = '';
        }}
      />
    );
  const given = tagsOf(tags.value);
  const uses = Number(machines.value);
  const countable = Number.isInteger(uses) && uses >= 1 && uses <= MACHINES_MOST;
  const submit = async (): Promise<void> => {
    if (given === null || !countable) return;
    busy.value = true;
    const wanted: NewEnrollment = {
      uses,
      ttlSeconds: seconds.value,
      url: collectorUrl(),
      ...(site.value.trim() === '' ? {} : { site: site.value.trim() }),
      ...(Object.keys(given).length === 0 ? {} : { tags: given }),
    };
    const answer = await api.makeEnrollment(wanted);
    busy.value = false;
    feed.heard(answer);
    failure.value = answer.ok ? null : answer.failure;
    if (!answer.ok) return;
    const { string, enrollment } = answer.value;
    const named = uses === 1 && name.value.trim() !== '' ? name.value.trim() : undefined;
    made.value = { string, uses: enrollment.uses, expiresAt: enrollment.expiresAt, name: named };
  };
  return (
    <form
      class="stacked"
      onSubmit={(event) => {
        event.preventDefault();
        void submit();
      }}
    >
      <Field id="new-uses" label="Machines" value={machines} type="number" min={1} max={MACHINES_MOST} />
      {uses === 1 ? <Field id="new-node" label="Name" value={name} placeholder="what the machine is called" /> : null}
      <Field id="new-site" label="Site" value={site} placeholder="porto" />
      <Field id="new-tags" label="Tags" value={tags} placeholder="env=production role=db" hint="Rules can be for nodes with a tag." />
      {given === null ? <p class="bad">Tags are written as name=value, with a space between them.</p> : null}
      <label for="new-time">
        Good for
        <select
          id="new-time"
          class="field"
          value={String(seconds.value)}
          onChange={(event) => {
            seconds.value = Number(event.currentTarget.value);
          }}
        >
          {TIMES.map((time) => (
            <option key={time.seconds} value={String(time.seconds)}>
              {time.label}
            </option>
          ))}
        </select>
      </label>
      {failure.value === null ? null : (
        <p class="bad" role="alert">
          {explain(failure.value)}
        </p>
      )}
      <p>
        <button type="submit" class="button primary" disabled={busy.value || given === null || !countable}>
          {busy.value ? 'One moment…' : 'Show the commands'}
        </button>
      </p>
    </form>
  );
}

export function AddPage(): JSX.Element {
  const mayChange = useMayChange();
  return (
    <section class="page-narrow add-page">
      <p class="back">
        <a href={addressOf('/nodes')}>← Nodes</a>
      </p>
      <h1>Add a node</h1>
      {mayChange ? (
        <>
          <AddForm />
          <details class="by-hand">
            <summary>Without a token: the machine asks, you approve</summary>
            <AddNode />
          </details>
        </>
      ) : (
        <>
          <p class="lead">
            With your token nodes cannot be let in. A machine can ask with these commands, and an administrator approves it.
          </p>
          <AddNode />
        </>
      )}
    </section>
  );
}
