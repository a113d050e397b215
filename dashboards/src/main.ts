/** Writes the dashboards' JSON: `node dashboards/dist/main.js`, which `npm run docs` does as well. */
import { writeDashboards } from './index.ts';

for (const name of writeDashboards()) process.stdout.write(`dashboards/json/${name}.json written\n`);
