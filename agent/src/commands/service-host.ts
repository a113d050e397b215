/**
 * Under the Windows service host the agent is told to stop by the end of its standard input: Windows has no signal that one process
 * could send to another for it. The host being gone, however it went, looks the same.
 */
import type { Readable } from 'node:stream';
import type { Lifecycle } from '@tidemark/service';

/** `hostPipe`: what the host put into the environment; undefined when there is none, and then the input is left alone. */
export function stopWithHost(hostPipe: string | undefined, lifecycle: Pick<Lifecycle, 'stop' | 'onStop'>, input: Readable): void {
  if (hostPipe === undefined) return;
  const stop = (): void => lifecycle.stop('the service host asks');
  input.once('end', stop).once('close', stop).once('error', stop).resume();
  // An input that is still being read keeps the process.
  lifecycle.onStop('input', () => void input.destroy());
}
