/** `npm run check`: types, lint, format, and that generated files are what their sources make of them. Tells all that is wrong, not the first thing. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { checkNode, ensureInstalled, programOf, root, run, runCommand } from './prepare.mjs';

const node = (file, ...args) => run(process.execPath, [file, ...args]);

const CHECKS = [
  { name: 'types', check: () => node(programOf('typescript', 'bin/tsc'), '-b') },
  { name: 'lint', check: () => node(programOf('oxlint', 'bin/oxlint'), '--type-aware', '--deny-warnings') },
  { name: 'format', check: () => node(programOf('oxfmt', 'bin/oxfmt'), '--check') },
  {
    name: 'generated files',
    check: () => (existsSync(join(root, 'scripts/docs.mjs')) ? node(join(root, 'scripts/docs.mjs'), '--check') : 0),
  },
];

await runCommand(async () => {
  checkNode();
  await ensureInstalled();
  const failed = [];
  for (const { name, check } of CHECKS) {
    process.stdout.write(`${name}:\n`);
    if ((await check()) !== 0) failed.push(name);
  }
  process.stdout.write(failed.length === 0 ? 'All is well.\n' : `Not well: ${failed.join(', ')}.\n`);
  return failed.length === 0 ? 0 : 1;
});
