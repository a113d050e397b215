/** Writes the generated pages of docs/reference again, from the built programs: npm run build first. */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describeApi } from '../collector/dist/openapi.js';

const path = (relative) => fileURLToPath(new URL(`../${relative}`, import.meta.url));
const { version } = JSON.parse(readFileSync(path('collector/package.json'), 'utf8'));

writeFileSync(path('docs/reference/openapi.json'), await describeApi(version));
