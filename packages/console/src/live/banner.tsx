/** Says where the console stands with the collector: a word in the head, and a banner when figures are not fresh. */
import type { JSX } from 'preact';
import { explain } from '../api/failure.ts';
import { useConsole } from '../context.ts';
import { Clock } from '../look/moment.tsx';
import { WarningShape } from '../look/symbols.tsx';

/** The banner's place is always in the page, so that a screen reader hears when something comes into it. */
export function LinkBanner(): JSX.Element {
  const { feed, session } = useConsole();
  const link = feed.link.value;
  const freshness = feed.freshness.value;
  let text: JSX.Element | null = null;
  if (session.active.value && freshness !== null) {
    const since = <Clock atMs={freshness.wallAtMs} />;
    if (link.kind === 'lost') text = <>No answer from the collector since {since} — figures below are from then.</>;
    else if (link.kind === 'troubled')
      text = (
        <>
          {link.failure.kind === 'unreachable' ? 'The collector answers, but its figures do not arrive.' : explain(link.failure)} Figures
          below are from {since}.
        </>
      );
    else if (link.kind === 'resuming') text = <>Asking the collector… Figures below are from {since}.</>;
  }
  return (
    <div class="banner-place" role="status" aria-live="polite">
      {text === null ? null : (
        <div class={`banner banner-${link.kind}`}>
          <WarningShape />
          <span>{text}</span>
        </div>
      )}
    </div>
  );
}

/** "Live" in the head, or what it is instead. */
export function LinkWord(): JSX.Element {
  const { feed } = useConsole();
  const words = { waiting: 'Connecting', live: 'Live', resuming: 'Updating', lost: 'No connection', troubled: 'Not fresh' };
  const { kind } = feed.link.value;
  return (
    <span class={`link-word link-${kind}`}>
      <span class="link-dot" aria-hidden="true" />
      {words[kind]}
    </span>
  );
}
