/** `npm run bundle`: makes what nodes download, into installers/dist/bundle. `npm run bundle -- --help` says more. */
import { join } from 'node:path';
import { checkNode, ensureBuilt, ensureInstalled, root, run, runCommand } from './prepare.mjs';

await runCommand(async () => {
  checkNode();
  await ensureInstalled();
  await ensureBuilt('installers');
  return await run(process.execPath, [join(root, 'installers/dist/main.js'), 'bundle', ...process.argv.slice(2)]);
});
