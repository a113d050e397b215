/** The load as a program of its own: reads a plan from standard input, prints a line when it is warm, and its result at the end. */
import { text } from 'node:stream/consumers';
import { runLoad, type LoadPlan } from './load.ts';

const plan = JSON.parse(await text(process.stdin)) as LoadPlan;
process.stdout.write(JSON.stringify(await runLoad(plan, () => void process.stdout.write('warm\n'))));
