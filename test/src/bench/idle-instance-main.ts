/** `node test/dist/bench/idle-instance-main.js [SECONDS] [VERSION] [BUNDLE]`: the measurement of idle-instance.ts by itself. */
import { POSTGRES_VERSIONS } from '../postgres/cluster.ts';
import { benchIdleInstance } from './idle-instance.ts';

const [seconds = '300', version = '18', bundle] = process.argv.slice(2);
const figures = await benchIdleInstance({
  version: POSTGRES_VERSIONS.find((known) => String(known) === version) ?? 18,
  warmUpSeconds: 60,
  seconds: Number(seconds),
  ...(bundle !== undefined && { bundle }),
  progress: (text) => process.stderr.write(`${text}\n`),
});
process.stdout.write(`${JSON.stringify(figures)}\n`);
