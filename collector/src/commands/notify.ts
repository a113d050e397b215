/** `tidemark-collector notify …`: whom the running collector tells, and whether the way there is open. */
import type { ChannelList, ChannelTest } from '@tidemark/protocol';
import { OperationalFailure } from '@tidemark/service';
import type { Command } from 'commander';
import type { FleetCommandsContext } from './nodes.ts';
import { printable, table } from './table.ts';

/** A mail server may take its time to answer: longer than the longest attempt. */
const TEST_TIMEOUT_MS = 45_000;

export function notifyCommands(
  program: Command,
  { out, err, connect }: FleetCommandsContext,
  connectOptions: (command: Command) => Command,
): void {
  const notify = program
    .command('notify')
    .description('whom the collector tells of alerts')
    .addHelpText('after', '\nExamples:\n  tidemark-collector notify channels\n  tidemark-collector notify test on-call\n');

  connectOptions(notify.command('channels').description('list the channels and how each stands'))
    .option('--json', 'as JSON')
    .action(async (options: { json?: true }, command: Command) => {
      const list = await connect(command).client.call<ChannelList>('GET', '/api/channels');
      if (options.json) return out(`${JSON.stringify(list, undefined, 2)}\n`);
      if (list.channels.length === 0) return err('No channels are configured: nobody is told of anything. See docs/how-to/webhooks.md.\n');
      const rows = list.channels.map((c) => [
        c.name,
        c.kind,
        c.state,
        String(c.waiting),
        c.lastDeliveredAt ?? '-',
        c.destination,
        c.only === '' ? 'everything' : c.only,
        c.detail,
      ]);
      return out(`${table(['NAME', 'KIND', 'STATE', 'WAITING', 'LAST DELIVERED', 'TO', 'TOLD', 'LAST ANSWER'], rows)}\n`);
    });

  connectOptions(notify.command('test <channel>').description("send a test message through a channel and print the other side's answer"))
    .addHelpText('after', '\nExample:\n  tidemark-collector notify test on-call\n')
    .action(async (channel: string, _: unknown, command: Command) => {
      const { client } = connect(command);
      const path = `/api/channels/${encodeURIComponent(channel)}/test`;
      const { delivered, answer, milliseconds } = await client.call<ChannelTest>('POST', path, undefined, { timeoutMs: TEST_TIMEOUT_MS });
      if (!delivered)
        throw new OperationalFailure(`${printable(channel)} did not take the test, after ${milliseconds} ms: ${printable(answer)}`);
      out(`${printable(answer)}\n`);
      err(`${printable(channel)} took the test in ${milliseconds} ms.\n`);
    });
}
