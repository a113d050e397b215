/** Adding a node: here, with a name and a token that is shown once; or with finished commands. */
import { useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import { addressOf } from '../base.ts';
import { explain, type Failure } from '../api/failure.ts';
import type { NewNode } from '../api/client.ts';
import { useConsole } from '../context.ts';
import { AddNode } from '../node/add-node.tsx';
import { nodePath } from '../router.ts';
import { useMayChange } from '../session/rights.ts';
import { TokenOnce } from './token.tsx';
import './nodes.css';

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

function Field(props: {
  id: string;
  label: string;
  hint?: string;
  value: string;
  placeholder: string;
  required?: boolean;
  onInput: (value: string) => void;
}): JSX.Element {
  return (
    <label for={props.id}>
      {props.label}
      <input
        id={props.id}
        class="field"
        value={props.value}
        placeholder={props.placeholder}
        required={props.required === true}
        maxLength={1_000}
        autocomplete="off"
        autocapitalize="off"
        spellcheck={false}
        onInput={(event) => props.onInput(event.currentTarget.value)}
      />
      {props.hint === undefined ? null : <span class="remark">{props.hint}</span>}
    </label>
  );
}

function AddForm(): JSX.Element {
  const { api, feed } = useConsole();
  const name = useSignal('');
  const site = useSignal('');
  const tags = useSignal('');
  const busy = useSignal(false);
  const failure = useSignal<Failure | null>(null);
  const made = useSignal<{ name: string; token: string } | null>(null);
  if (made.value !== null)
    return (
      <>
        <h2>
          <a href={nodePath(made.value.name)}>
            <bdi>{made.value.name}</bdi>
          </a>{' '}
          is known
        </h2>
        <TokenOnce name={made.value.name} token={made.value.token} fresh />
        <p class="add-another">
          <button
            type="button"
            class="button"
            onClick={() => {
              made.value = null;
              name.value = '';
            }}
          >
            Add another
          </button>
        </p>
      </>
    );
  const given = tagsOf(tags.value);
  const submit = async (): Promise<void> => {
    if (given === null) return;
    busy.value = true;
    const node: NewNode = {
      name: name.value.trim(),
      ...(site.value.trim() === '' ? {} : { site: site.value.trim() }),
      ...(Object.keys(given).length === 0 ? {} : { tags: given }),
    };
    const answer = await api.addNode(node);
    busy.value = false;
    feed.heard(answer);
    failure.value = answer.ok ? null : answer.failure;
    if (answer.ok) made.value = { name: node.name, token: answer.value.token };
  };
  return (
    <form
      class="stacked"
      onSubmit={(event) => {
        event.preventDefault();
        void submit();
      }}
    >
      <Field id="new-node" label="Name" value={name.value} placeholder="web-1" required onInput={(value) => (name.value = value)} />
      <Field id="new-site" label="Site" value={site.value} placeholder="porto" onInput={(value) => (site.value = value)} />
      <Field
        id="new-tags"
        label="Tags"
        value={tags.value}
        placeholder="env=production role=db"
        hint="Rules can be for nodes with a tag."
        onInput={(value) => (tags.value = value)}
      />
      {given === null ? <p class="bad">Tags are written as name=value, with a space between them.</p> : null}
      {failure.value === null ? null : (
        <p class="bad" role="alert">
          {explain(failure.value)}
        </p>
      )}
      <p>
        <button type="submit" class="button primary" disabled={busy.value || given === null}>
          {busy.value ? 'One moment…' : 'Add it and show its token'}
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
            <summary>At the command line instead</summary>
            <AddNode />
          </details>
        </>
      ) : (
        <>
          <p class="lead">With your token nodes cannot be added here. An administrator can, with these commands.</p>
          <AddNode />
        </>
      )}
    </section>
  );
}
