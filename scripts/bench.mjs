/** `npm run bench`: measures what agent and collector cost on this machine. `npm run bench -- --help` says more. */
import { runInForeground } from './foreground.mjs';

await runInForeground('test/dist/bench/main.js');
