/** A section of the settings with a heading that can be linked to. */
import type { ComponentChildren, JSX } from 'preact';

export function Section({
  id,
  title,
  aside,
  children,
}: {
  id: string;
  title: string;
  aside?: ComponentChildren;
  children: ComponentChildren;
}): JSX.Element {
  return (
    <section class="settings-section" id={id} aria-labelledby={`${id}-title`}>
      <div class="section-line">
        <h2 id={`${id}-title`}>{title}</h2>
        {aside}
      </div>
      {children}
    </section>
  );
}
