/** `npm run scenarios`: replication scenarios on real clusters. `npm run scenarios -- --help` says more. */
import { runInForeground } from './foreground.mjs';

await runInForeground('test/dist/scenarios/main.js');
