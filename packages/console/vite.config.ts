/** How the console is built: hashed assets in `dist/`, nothing inlined, so that a policy without inline script and style holds. */
import { defineConfig } from 'vite';
import { mockApiPlugin } from './dev/vite-plugin.ts';

export default defineConfig({
  plugins: [mockApiPlugin()],
  esbuild: { jsx: 'automatic', jsxImportSource: 'preact' },
  build: {
    target: 'es2022',
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    sourcemap: false,
  },
});
