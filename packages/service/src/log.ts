/** The log: pino, one child a component, constant messages with the data in fields; `info` is for changes of state, nothing is logged per sample. */
import { pino, type Logger } from 'pino';
import { stdoutIsTerminal } from './terminal.ts';

export type Log = Logger;
export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

const REDACTED = ['token', 'password', 'authorization', 'cookie', '*.token', '*.password', '*.authorization', '*.cookie'];
const LEVEL_NAMES: Record<number, string> = { 10: 'trace', 20: 'debug', 30: 'info', 40: 'WARN', 50: 'ERROR', 60: 'FATAL' };

/** A log on standard error: lines for people on a terminal, JSON otherwise (`format` overrides). */
export function createLog(program: string, level: LogLevel, format: 'auto' | 'json' | 'text' = 'auto'): Log {
  const text = format === 'text' || (format === 'auto' && stdoutIsTerminal());
  const destination = text
    ? { write: (line: string) => void process.stderr.write(readable(line)) }
    : pino.destination({ dest: 2, sync: true });
  return pino(
    {
      name: program,
      level,
      base: { program },
      redact: { paths: REDACTED, censor: '[redacted]' },
      timestamp: pino.stdTimeFunctions.isoTime,
    },
    destination,
  );
}

function readable(line: string): string {
  const { level, time, msg, program, component, err, ...fields } = JSON.parse(line) as Record<string, unknown>;
  delete fields['name'];
  const parts = Object.entries(fields).map(([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`);
  const cause = err ? ` (${(err as { message?: string }).message ?? ''})` : '';
  const who = [program, component].filter(Boolean).join('/').replace('tidemark-', '');
  return `${String(time).slice(11, 19)} ${LEVEL_NAMES[Number(level)] ?? 'info'} ${who}: ${String(msg)}${cause}${parts.length > 0 ? `  ${parts.join(' ')}` : ''}\n`;
}
