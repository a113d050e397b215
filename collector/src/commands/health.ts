/** `tidemark-collector health`: whether the collector is well, as an exit code, for a supervisor that has no program for HTTP. Needs no credential. */
import type { Command } from 'commander';
import type { Health } from '@tidemark/protocol';
import { EXIT } from '@tidemark/service';
import { askAnybody, type CollectorAddress } from './client.ts';
import type { Terminal } from './nodes.ts';
import { printable } from './table.ts';

const TIMEOUT_MS = 10_000;

export interface HealthContext extends Terminal {
  addressOf: (command: Command) => CollectorAddress;
  exit: (code: number) => void;
}

export function healthCommand(program: Command, context: HealthContext, connectOptions: (command: Command) => Command): void {
  connectOptions(program.command('health').description('whether the collector is well: exit code 0, or 1 and why not'))
    .addHelpText('after', '\nExample:\n  tidemark-collector health --config /etc/tidemark/collector.yaml\n')
    .action(async (_: unknown, command: Command) => {
      const address = context.addressOf(command);
      const { status, text } = await askAnybody(address, '/api/health', TIMEOUT_MS);
      const health = readHealth(text);
      if (health === undefined) {
        context.err(
          `${address.url}: ${status === 400 && text.includes('speaks HTTPS') ? text.trim() : `no collector answers there (HTTP status ${status}).`}\n`,
        );
        return context.exit(EXIT.failed);
      }
      if (status === 200 && health.status === 'healthy') return context.out('healthy\n');
      context.err(`${[health.status, ...(health.reasons ?? [])].map(printable).join('\n')}\n`);
      context.exit(EXIT.failed);
    });
}

function readHealth(text: string): (Partial<Health> & { status: string }) | undefined {
  try {
    const answer: unknown = JSON.parse(text);
    const { status } = answer as Partial<Health>;
    return typeof status === 'string' ? (answer as Partial<Health> & { status: string }) : undefined;
  } catch {
    return undefined;
  }
}
