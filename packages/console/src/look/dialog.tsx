/** A question that has to be answered before anything else: the browser's own dialog, so that focus, Escape and screen readers are right. */
import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useId, useRef } from 'preact/hooks';

export interface DialogProps {
  title: string;
  onClose: () => void;
  /** Sent when the form is. */
  onSubmit: () => void;
  children: ComponentChildren;
}

/** Open while it is drawn. */
export function Dialog({ title, onClose, onSubmit, children }: DialogProps): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null);
  const heading = useId();
  useEffect(() => {
    const shown = dialog.current;
    shown?.showModal();
    // The `autofocus` attribute is for documents: put in later, browsers complain of it.
    shown?.querySelector<HTMLElement>('[data-first]')?.focus();
    return () => shown?.close();
  }, []);
  return (
    <dialog
      ref={dialog}
      class="dialog"
      aria-labelledby={heading}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onClick={(event) => {
        // A click on the ground around it, not in it.
        if (event.target === event.currentTarget) onClose();
      }}
    >
      <form
        onSubmit={(event) => {
          event.preventDefault();
          onSubmit();
        }}
      >
        <h2 id={heading}>{title}</h2>
        {children}
      </form>
    </dialog>
  );
}

/** The last line of a dialog: what is done, and the way back. */
export function DialogEnd(props: { act: string; busy?: boolean; danger?: boolean; disabled?: boolean; onClose: () => void }): JSX.Element {
  return (
    <div class="dialog-end">
      <button type="button" class="button" onClick={props.onClose}>
        Cancel
      </button>
      <button
        type="submit"
        class={props.danger === true ? 'button danger' : 'button primary'}
        disabled={props.busy === true || props.disabled === true}
      >
        {props.busy === true ? 'One moment…' : props.act}
      </button>
    </div>
  );
}
