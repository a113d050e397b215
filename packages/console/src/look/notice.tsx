/** A page that has nothing else to show says why, and what happens next. */
import type { ComponentChildren, JSX } from 'preact';
import { TideMark } from './symbols.tsx';

export function Notice(props: { title: string; busy?: boolean; children?: ComponentChildren }): JSX.Element {
  return (
    <section class={props.busy ? 'notice busy' : 'notice'} role="status">
      <TideMark size={44} />
      <h1>{props.title}</h1>
      {props.children}
    </section>
  );
}
