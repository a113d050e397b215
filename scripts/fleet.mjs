/** `npm run fleet`: a simulated fleet that reports to a running collector. `npm run fleet -- --help` says more. */
import { runInForeground } from './foreground.mjs';

await runInForeground('test/dist/fleet/main.js');
