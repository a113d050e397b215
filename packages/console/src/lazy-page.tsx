/** Pages that are fetched when they are first needed, or when there is time: the first load stays small, and a page that was fetched is there when the collector is not. */
import { signal, type Signal } from '@preact/signals';
import type { FunctionComponent, JSX } from 'preact';
import { useMemo } from 'preact/hooks';
import { Notice } from './look/notice.tsx';

type State<P> = { kind: 'asked' } | { kind: 'here'; component: FunctionComponent<P> } | { kind: 'failed' };

export interface LazyPage<P> {
  Page: FunctionComponent<P>;
  /** Fetches it ahead of its need. */
  fetch(): void;
}

function Failed(): JSX.Element {
  return (
    <Notice title="This page could not be loaded">
      <p>The collector does not answer, or it was updated since this tab was opened.</p>
      <p>
        <button type="button" class="button" onClick={() => location.reload()}>
          Load again
        </button>
      </p>
    </Notice>
  );
}

/** @param load imports the module and gives its page. `isPart`: of a page that does without it while it is not here. */
export function lazyPage<P extends object>(load: () => Promise<FunctionComponent<P>>, isPart = false): LazyPage<P> {
  let state: Signal<State<P>> | undefined;
  const asked = (): Signal<State<P>> => {
    if (state !== undefined && state.peek().kind !== 'failed') return state;
    const mine = (state ??= signal<State<P>>({ kind: 'asked' }));
    mine.value = { kind: 'asked' };
    load().then(
      (component) => {
        mine.value = { kind: 'here', component };
      },
      () => {
        mine.value = { kind: 'failed' };
      },
    );
    return mine;
  };
  return {
    Page: (props) => {
      // One that could not be fetched ahead is tried again when it is gone to.
      const now = useMemo(asked, []).value;
      if (now.kind === 'here') return <now.component {...props} />;
      if (isPart) return null;
      return now.kind === 'failed' ? <Failed /> : <Notice title="One moment…" busy />;
    },
    fetch: () => void asked(),
  };
}
