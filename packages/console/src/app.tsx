/** The frame around every page: who is signed in, where one is, whether what is shown is fresh. */
import type { JSX } from 'preact';
import { useEffect } from 'preact/hooks';
import { explain } from './api/failure.ts';
import { useConsole } from './context.ts';
import { FleetPage } from './fleet/fleet-page.tsx';
import { LinkBanner, LinkWord } from './live/banner.tsx';
import { Notice } from './look/notice.tsx';
import { ThemeShape, TideMark } from './look/symbols.tsx';
import { nextTheme, theme } from './look/theme.ts';
import { AddNodePage } from './node/add-node.tsx';
import { NodePage } from './node/node-page.tsx';
import { fleetQuery, route, type Route } from './router.ts';
import { SignIn } from './session/sign-in.tsx';

function ThemeButton(): JSX.Element {
  const label = { system: 'Theme: as the system', dark: 'Theme: dark', light: 'Theme: light' }[theme.value];
  return (
    <button type="button" class="icon-button" onClick={nextTheme} aria-label={label} title={label}>
      <ThemeShape theme={theme.value} />
    </button>
  );
}

function Head(): JSX.Element {
  const { session } = useConsole();
  const { page } = route.value;
  const here = (is: Route['page']): { 'aria-current'?: 'page' } => (page === is ? { 'aria-current': 'page' } : {});
  return (
    <header class="head">
      <a class="brand" href="/" aria-label="Tidemark, to the fleet">
        <TideMark size={22} />
        <span>Tidemark</span>
      </a>
      {session.active.value ? (
        <nav aria-label="Pages">
          <a href={`/${fleetQuery.value}`} {...here('fleet')}>
            Fleet
          </a>
          <a href="/nodes" {...here('nodes')}>
            Add a node
          </a>
        </nav>
      ) : null}
      <div class="head-end">
        {session.active.value ? <LinkWord /> : null}
        <ThemeButton />
        {session.active.value ? (
          <button type="button" class="button quiet" onClick={() => void session.signOut()}>
            Sign out
          </button>
        ) : null}
      </div>
    </header>
  );
}

function Page(): JSX.Element {
  const { session } = useConsole();
  const status = session.status.value;
  if (status.kind === 'asking')
    return status.failure === null ? (
      <Notice title="Asking the collector…" busy />
    ) : (
      <Notice title={status.failure.kind === 'unreachable' ? 'The collector does not answer' : 'The collector cannot help just now'}>
        <p>{explain(status.failure)} This page tries again by itself.</p>
      </Notice>
    );
  if (status.kind === 'signed-out') return <SignIn ended={status.ended} />;
  const at = route.value;
  switch (at.page) {
    case 'fleet':
      return <FleetPage />;
    case 'node':
      return <NodePage key={at.name} name={at.name} />;
    case 'nodes':
      return <AddNodePage />;
    case 'unknown':
      return (
        <Notice title="There is no such page">
          <p>
            <a href="/">To the fleet</a>
          </p>
        </Notice>
      );
  }
}

export function App(): JSX.Element {
  const at = route.value;
  useEffect(() => {
    document.title = at.page === 'node' ? `${at.name} · Tidemark` : at.page === 'nodes' ? 'Add a node · Tidemark' : 'Tidemark';
  }, [at]);
  const { feed } = useConsole();
  return (
    <>
      <Head />
      <LinkBanner />
      <main class={feed.stale.value ? 'stale' : undefined}>
        <Page />
      </main>
    </>
  );
}
