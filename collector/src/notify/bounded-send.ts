/** One attempt within its time: whatever a channel does, a defect of ours included, its lane goes on. */
import { sentenceOf, type Clock, type Log } from '@tidemark/service';
import type { Channel, Message, Sent } from './channels/channel.ts';

/** What a channel gets to give up an attempt that was aborted, before the lane goes on without it. */
const ABORT_GRACE_MS = 2_000;

/** Sends once, and aborts `controller` when the time is up. Never rejects. */
export async function sendBounded(
  message: Message,
  { name, channel, attemptMs }: { readonly name: string; readonly channel: Channel; readonly attemptMs: number },
  controller: AbortController,
  { clock, log }: { readonly clock: Clock; readonly log: Log },
): Promise<Sent> {
  const late: Sent = { outcome: 'retry', answer: `no answer within ${attemptMs / 1_000} s` };
  let grace: NodeJS.Timeout | undefined;
  const timer = setTimeout(() => controller.abort(), attemptMs);
  const given = new Promise<Sent>((resolve) => {
    controller.signal.addEventListener('abort', () => (grace = setTimeout(() => resolve(late), ABORT_GRACE_MS)), { once: true });
  });
  try {
    const sent = await Promise.race([channel.send(message, { now: clock.wallMs(), signal: controller.signal }), given]);
    return controller.signal.aborted && sent.outcome === 'retry' ? late : sent;
  } catch (error) {
    log.error({ err: error, channel: name }, 'a channel failed where it must not');
    return { outcome: 'retry', answer: `not sent, by a defect in this collector: ${sentenceOf(error)}` };
  } finally {
    clearTimeout(timer);
    clearTimeout(grace);
  }
}
