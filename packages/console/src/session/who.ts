/**
 * The name of whoever sits here, typed once and kept in this browser: the session belongs to a token, and a token is
 * often shared. It says who to call, and gives no rights.
 */
import { signal } from '@preact/signals';

const KEY = 'tidemark.name';
export const NAME_MOST = 100;

function stored(): string {
  try {
    return (localStorage.getItem(KEY) ?? '').slice(0, NAME_MOST);
  } catch {
    return '';
  }
}

/** Empty while nobody has said. */
export const who = signal(stored());

export function rememberWho(name: string): void {
  who.value = name.trim().slice(0, NAME_MOST);
  try {
    localStorage.setItem(KEY, who.value);
  } catch {
    // Then it holds until the page is left.
  }
}
