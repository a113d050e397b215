/** A finished command to copy. Works on pages served without TLS too, where browsers offer no clipboard. */
import { useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import { useRef } from 'preact/hooks';

async function copyText(text: string, shown: HTMLElement): Promise<boolean> {
  if (navigator.clipboard !== undefined) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // Refused: the older way may still be allowed.
    }
  }
  getSelection()?.selectAllChildren(shown);
  return document.execCommand('copy');
}

/** Shows `text`, copies it as it is. */
export function Command({ text, label }: { text: string; label: string }): JSX.Element {
  const copied = useSignal<'no' | 'yes' | 'selected'>('no');
  const code = useRef<HTMLElement>(null);
  const copy = async (): Promise<void> => {
    if (code.current === null) return;
    copied.value = (await copyText(text, code.current)) ? 'yes' : 'selected';
    setTimeout(() => {
      copied.value = 'no';
    }, 2_500);
  };
  const words = { no: 'Copy', yes: 'Copied', selected: 'Selected: press Ctrl+C' };
  return (
    <div class="command">
      <pre tabIndex={0} aria-label={label}>
        <code ref={code}>{text}</code>
      </pre>
      <button type="button" class="button quiet" onClick={() => void copy()} aria-label={`Copy: ${label}`}>
        <span aria-live="polite">{words[copied.value]}</span>
      </button>
    </div>
  );
}
