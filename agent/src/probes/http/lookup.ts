/**
 * Looks names up without being held up by a dead name server. A lookup that does not return cannot be taken back and holds
 * one of the few threads that all file access shares: so there is one at a time for a name, and few in all.
 */
import type { LookupFunction } from 'node:net';

/** Half of what file systems leave over (16 threads, of which dead mounts may hold 8): the rest is the spool's. */
const OUTSTANDING_MAX = 4;
/** Names and askers that wait; redirects lead to names of others' choosing. */
const WAITING_MAX = 400;

type Options = Parameters<LookupFunction>[1];
type Answered = Parameters<LookupFunction>[2];
interface Question {
  readonly host: string;
  readonly options: Options;
  readonly askers: Answered[];
}

/** The same function, with at most one lookup open for a name and `outstandingMax` in all; others wait for their turn. */
export function boundedLookup(lookup: LookupFunction, outstandingMax = OUTSTANDING_MAX): LookupFunction {
  const questions = new Map<string, Question>();
  const waiting: string[] = [];
  let outstanding = 0;

  const start = (key: string): void => {
    const question = questions.get(key)!;
    outstanding++;
    lookup(question.host, question.options, (error, address, family) => {
      if (questions.get(key) !== question) return;
      outstanding--;
      questions.delete(key);
      const next = waiting.shift();
      if (next !== undefined) start(next);
      for (const answered of question.askers) answered(error, address, family);
    });
  };

  return (host, options, answered) => {
    const key = `${host}\0${JSON.stringify(options)}`;
    const known = questions.get(key);
    if (known !== undefined) {
      // Those who asked long ago have given up since.
      if (known.askers.length >= WAITING_MAX) known.askers.shift();
      known.askers.push(answered);
      return;
    }
    if (waiting.length >= WAITING_MAX) {
      const error = Object.assign(new Error('too many names are being looked up'), {
        code: 'EAI_AGAIN',
        syscall: 'getaddrinfo',
      });
      process.nextTick(answered, error, '', 0);
      return;
    }
    questions.set(key, { host, options, askers: [answered] });
    if (outstanding < outstandingMax) start(key);
    else waiting.push(key);
  };
}
