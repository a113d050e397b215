/** What every page may use, made once in main.tsx: the client, the session and the live fleet. */
import { createContext } from 'preact';
import { useContext } from 'preact/hooks';
import type { Api } from './api/client.ts';
import type { Feed } from './live/feed.ts';
import type { SessionState } from './session/session.ts';

export interface Console {
  api: Api;
  session: SessionState;
  feed: Feed;
}

export const ConsoleContext = createContext<Console | null>(null);

/** The console's parts; only below `ConsoleContext`. */
export function useConsole(): Console {
  const value = useContext(ConsoleContext);
  if (value === null) throw new Error('useConsole outside of ConsoleContext');
  return value;
}
