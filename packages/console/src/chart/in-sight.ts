/** Whether something is in sight, or nearly: what is not need not be asked for or drawn yet. */
import { useSignal, type ReadonlySignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';

/** @param once stays true when it has been in sight. */
export function useInSight(element: { current: HTMLElement | null }, once = false): ReadonlySignal<boolean> {
  const inSight = useSignal(false);
  useEffect(() => {
    if (element.current === null) return undefined;
    const observer = new IntersectionObserver(
      (entries) => {
        inSight.value = entries.at(-1)?.isIntersecting === true;
        if (once && inSight.peek()) observer.disconnect();
      },
      { rootMargin: '300px 0px' },
    );
    observer.observe(element.current);
    return () => observer.disconnect();
  }, [element, inSight, once]);
  return inSight;
}
