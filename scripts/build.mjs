/** `npm run build`: compiles everything, builds the console, bundles the agent. Does nothing when nothing changed. */
import { checkNode, ensureBuilt, ensureInstalled, runCommand } from './prepare.mjs';

await runCommand(async () => {
  checkNode();
  await ensureInstalled();
  await ensureBuilt('everything', 'console', 'agent');
  return 0;
});
