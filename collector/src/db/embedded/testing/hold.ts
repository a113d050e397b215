/**
 * A stand-in for the collector, for tests that kill it or run it as somebody else: starts the embedded
 * PostgreSQL with the options in its first argument, says how that went in one line, and stops it on SIGTERM.
 */
import { OperationalFailure, createLog } from '@tidemark/service';
import { startEmbeddedPostgres, type EmbeddedPostgresOptions } from '../server.ts';

const options = JSON.parse(process.argv[2] ?? '{}') as Omit<EmbeddedPostgresOptions, 'log'>;
const say = (message: object): void => void process.stdout.write(`${JSON.stringify(message)}\n`);
try {
  const server = await startEmbeddedPostgres({ ...options, log: createLog('hold', 'warn', 'json') });
  process.on('SIGTERM', () => void server.stop().then(() => process.exit(0)));
  setInterval(() => {}, 60_000);
  say({ pid: server.pid, host: server.connection.host, binariesDir: server.binariesDir, connection: server.connection });
} catch (error) {
  if (!(error instanceof OperationalFailure)) throw error;
  say({ failure: error.message });
  process.exit(error.exitCode);
}
