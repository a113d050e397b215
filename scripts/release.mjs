/** `npm run release`: makes the collector's release archives, into release. `npm run release -- --help` says more. */
import { join } from 'node:path';
import { checkNode, ensureBuilt, ensureInstalled, root, run, runCommand } from './prepare.mjs';

await runCommand(async () => {
  checkNode();
  await ensureInstalled();
  await ensureBuilt('programs', 'console');
  return await run(process.execPath, [join(root, 'installers/dist/main.js'), 'release', ...process.argv.slice(2)]);
});
