/** What is in force, as read-only truth: rules, channels, storage, options and where each came from. */
import { useSignal } from '@preact/signals';
import type { Settings } from '@tidemark/protocol';
import type { JSX } from 'preact';
import { useEffect } from 'preact/hooks';
import { addressOf } from '../base.ts';
import { explain, type Answer } from '../api/failure.ts';
import { ChannelsSection } from '../channels/channels-section.tsx';
import { useConsole } from '../context.ts';
import { pollingSource } from '../live/source.ts';
import { nextTheme, theme } from '../look/theme.ts';
import { step } from '../router.ts';
import { rememberWho, who } from '../session/who.ts';
import { rulesInForce } from './rules-in-force.ts';
import { RulesSection } from './rules-section.tsx';
import { Section } from './section.tsx';
import './settings.css';
import { StorageSection } from './storage-section.tsx';

const EVERY_MS = 60_000;
const RETRY_MS = 5_000;

function useSettings() {
  const { api, feed } = useConsole();
  const answer = useSignal<Answer<Settings> | null>(null);
  useEffect(
    () =>
      feed.attach(
        pollingSource({
          ask: (withdrawn) => api.settings(withdrawn),
          periodMs: EVERY_MS,
          retryMs: RETRY_MS,
          onAnswer: (next) => {
            if (next.ok || answer.value?.ok !== true) answer.value = next;
            feed.heard(next);
          },
        }),
      ),
    [api, feed],
  );
  return answer;
}

function OptionsSection({ settings }: { settings: Settings }): JSX.Element {
  return (
    <Section id="options" title="Configuration">
      <p class="muted">
        {settings.configurationFile === null ? (
          'No configuration file is used.'
        ) : (
          <>
            File <span class="code">{settings.configurationFile}</span>.
          </>
        )}{' '}
        Flag beats environment beats file beats default.
      </p>
      <div class="scroller" tabIndex={0} role="region" aria-label="Options in force">
        <table class="options">
          <thead>
            <tr>
              <th scope="col">Option</th>
              <th scope="col">In force</th>
              <th scope="col">From</th>
            </tr>
          </thead>
          <tbody>
            {settings.options.map((option) => (
              <tr key={option.name}>
                <th scope="row" class="code">
                  {option.name}
                </th>
                <td class="code">{option.value}</td>
                <td class={option.source === 'default' ? 'muted' : ''}>{option.source}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Section>
  );
}

function About({ settings }: { settings: Settings }): JSX.Element {
  return (
    <Section id="about" title="About">
      <p class="about">
        Tidemark {settings.version}
        {settings.publicUrl === null ? null : (
          <>
            {' '}
            at <span class="code">{settings.publicUrl}</span>
          </>
        )}
        . <a href={addressOf('/api/docs')}>API</a> · <a href={addressOf('/runbooks/')}>Runbooks</a> ·{' '}
        <a href={addressOf('/metrics')}>Metrics</a>
      </p>
    </Section>
  );
}

/** On a phone there is no room for these in the head. */
function ThisBrowser(): JSX.Element {
  const { session } = useConsole();
  return (
    <Section id="browser" title="This browser">
      <p class="browser-acts">
        <button type="button" class="button" onClick={nextTheme}>
          Theme: {{ system: 'as the system', dark: 'dark', light: 'light' }[theme.value]}
        </button>
        {who.value === '' ? null : (
          <button type="button" class="button" onClick={() => rememberWho('')}>
            Forget my name ({who.value})
          </button>
        )}
        <button type="button" class="button" onClick={() => void session.signOut()}>
          Sign out
        </button>
      </p>
    </Section>
  );
}

function Rest(): JSX.Element {
  const answer = useSettings().value;
  if (answer?.ok === true)
    return (
      <>
        <StorageSection settings={answer.value} />
        <OptionsSection settings={answer.value} />
        <About settings={answer.value} />
      </>
    );
  return (
    <Section id="storage" title="Storage and configuration">
      <p class="muted">
        {answer === null
          ? 'Fetching the settings…'
          : answer.failure.kind === 'forbidden'
            ? 'Only an administrator may see these: sign in with the administrator’s token.'
            : `${explain(answer.failure)} This page tries again by itself.`}
      </p>
    </Section>
  );
}

export function SettingsPage(): JSX.Element {
  // What an address points at may come after the answers have; a rule is opened too.
  const known = rulesInForce.value !== null;
  const at = step.value;
  useEffect(() => {
    if (location.hash === '') return undefined;
    const due = setTimeout(() => {
      const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
      if (target instanceof HTMLDetailsElement) target.open = true;
      target?.scrollIntoView();
    }, 60);
    return () => clearTimeout(due);
  }, [known, at]);
  return (
    <div class="settings-page">
      <div class="settings-head">
        <h1>Settings</h1>
        <nav class="tabs" aria-label="Settings">
          <a href="#rules">Rules</a>
          <a href="#channels">Channels</a>
          <a href="#storage">Storage</a>
          <a href="#options">Configuration</a>
        </nav>
      </div>
      <RulesSection />
      <ChannelsSection />
      <Rest />
      <ThisBrowser />
    </div>
  );
}
