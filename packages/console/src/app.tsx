/** The frame around every page: who is signed in, where one is, whether what is shown is fresh. */
import type { JSX } from 'preact';
import { useEffect } from 'preact/hooks';
import { addressOf } from './base.ts';
import { explain } from './api/failure.ts';
import { useConsole } from './context.ts';
import { openCounts } from './alerts/open-alerts.ts';
import { FleetPage } from './fleet/fleet-page.tsx';
import { LinkBanner, LinkWord } from './live/banner.tsx';
import { Notice } from './look/notice.tsx';
import { ThemeShape, TideMark } from './look/symbols.tsx';
import { nextTheme, theme } from './look/theme.ts';
import { NodePage } from './node/node-page.tsx';
import { addNodePage, alertPage, alertsPage, fetchPages, nodesPage, replicationPage, settingsPage } from './pages.ts';
import { fleetQuery, route, type Route } from './router.ts';
import { SignIn } from './session/sign-in.tsx';

function ThemeButton(): JSX.Element {
  const label = { system: 'Theme: as the system', dark: 'Theme: dark', light: 'Theme: light' }[theme.value];
  return (
    <button type="button" class="icon-button wide-only" onClick={nextTheme} aria-label={label} title={label}>
      <ThemeShape theme={theme.value} />
    </button>
  );
}

/** "Alerts", with how many are open: the number is the first thing to see on every page. */
function AlertsLink({ here }: { here: boolean }): JSX.Element {
  const counts = openCounts.value;
  const { feed } = useConsole();
  const held = counts?.calling === 0 || feed.stale.value;
  return (
    <a href={addressOf('/alerts')} {...(here ? { 'aria-current': 'page' as const } : {})}>
      Alerts
      {counts === null || counts.open === 0 ? null : (
        <span class={`badge ${counts.critical > 0 ? 'badge-critical' : 'badge-warning'} ${held ? 'badge-held' : ''}`}>
          {counts.open}
          <span class="unseen"> open{counts.critical > 0 ? `, ${counts.critical} critical` : ''}</span>
        </span>
      )}
    </a>
  );
}

function Head(): JSX.Element {
  const { session } = useConsole();
  const { page } = route.value;
  const here = (...is: Route['page'][]): { 'aria-current'?: 'page' } => (is.includes(page) ? { 'aria-current': 'page' } : {});
  return (
    <header class="head">
      <a class="brand" href={addressOf('/')} aria-label="Tidemark, to the fleet">
        <TideMark size={22} />
        <span>Tidemark</span>
      </a>
      {session.active.value ? (
        <nav aria-label="Pages">
          <a href={addressOf(`/${fleetQuery.value}`)} {...here('fleet')}>
            Fleet
          </a>
          <AlertsLink here={page === 'alerts' || page === 'alert'} />
          <a href={addressOf('/replication')} {...here('replication')}>
            Replication
          </a>
          <a href={addressOf('/nodes')} {...here('nodes', 'add-node')}>
            Nodes
          </a>
          <a href={addressOf('/settings')} {...here('settings')}>
            Settings
          </a>
        </nav>
      ) : null}
      <div class="head-end">
        {session.active.value ? <LinkWord /> : null}
        <ThemeButton />
        {session.active.value ? (
          <button type="button" class="button quiet wide-only" onClick={() => void session.signOut()}>
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
      return <nodesPage.Page />;
    case 'add-node':
      return <addNodePage.Page />;
    case 'alerts':
      return <alertsPage.Page tab={at.tab} />;
    case 'alert':
      return <alertPage.Page key={at.id} id={at.id} />;
    case 'replication':
      return <replicationPage.Page />;
    case 'settings':
      return <settingsPage.Page />;
    case 'unknown':
      return (
        <Notice title="There is no such page">
          <p>
            <a href={addressOf('/')}>To the fleet</a>
          </p>
        </Notice>
      );
  }
}

const TITLES: Record<Exclude<Route['page'], 'node' | 'alerts'>, string> = {
  fleet: '',
  nodes: 'Nodes',
  'add-node': 'Add a node',
  alert: 'Alert',
  replication: 'Replication',
  settings: 'Settings',
  unknown: '',
};
const TABS = { open: 'Alerts', past: 'Past alerts', silences: 'Silences' };

/** What the tab is called: how many alerts are open stands first, so that it can be read on a tab in the back. */
function titleOf(at: Route, open: number): string {
  const where = at.page === 'node' ? at.name : at.page === 'alerts' ? TABS[at.tab] : TITLES[at.page];
  return `${open > 0 ? `(${open}) ` : ''}${where === '' ? '' : `${where} · `}Tidemark`;
}

export function App(): JSX.Element {
  const { feed, session } = useConsole();
  const at = route.value;
  const counts = openCounts.value;
  const title = titleOf(at, counts?.open ?? 0);
  useEffect(() => {
    document.title = title;
  }, [title]);
  const mark = (counts?.calling ?? 0) > 0;
  useEffect(() => {
    document.querySelector('link[rel="icon"]')?.setAttribute('href', addressOf(mark ? '/favicon-alert.svg' : '/favicon.svg'));
  }, [mark]);
  const begun = session.active.value && feed.figures.value !== null;
  useEffect(() => {
    if (begun) fetchPages();
  }, [begun]);
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
