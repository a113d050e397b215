/** Builds what is installed on nodes: `node installers/dist/main.js`. */
import { bundleAgent } from './bundle.ts';

const { file, sizeBytes } = await bundleAgent();
process.stdout.write(`${file}: ${(sizeBytes / 1024).toFixed(0)} KiB\n`);
