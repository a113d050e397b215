/** The console's start: the only place that touches the page's globals to put the parts together. */
import { render } from 'preact';
import { keepOpenAlerts } from './alerts/open-alerts.ts';
import { App } from './app.tsx';
import { createApi } from './api/client.ts';
import { addressOf } from './base.ts';
import { ConsoleContext } from './context.ts';
import { createFeed } from './live/feed.ts';
import { applyTheme } from './look/theme.ts';
import { startRouter } from './router.ts';
import { createSession } from './session/session.ts';
import { keepRules } from './settings/rules-in-force.ts';

applyTheme();
startRouter();
const api = createApi({
  fetch: (input, init) => fetch(typeof input === 'string' ? addressOf(input) : input, init),
  timeoutMs: 10_000,
  aliveTimeoutMs: 3_000,
});
const session = createSession(api);
const feed = createFeed({ api, active: session.active, onSignedOut: () => session.ended() });
keepOpenAlerts(api, feed, session.active);
keepRules(api, feed, session.active);
const root = document.querySelector('#app');
if (root === null) throw new Error('index.html has no #app');
render(
  <ConsoleContext.Provider value={{ api, session, feed }}>
    <App />
  </ConsoleContext.Provider>,
  root,
);
void session.begin();
