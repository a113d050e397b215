/** How the console is built: hashed assets in `dist/`, nothing inlined, so that a policy without inline script and style holds. */
import { defineConfig } from 'vite';
import { mockApiPlugin } from './dev/vite-plugin.ts';

export default defineConfig({
  // The page names its files from the root, where the collector puts its path prefix in; files name each other relative to themselves.
  experimental: { renderBuiltUrl: (file, { hostType }) => (hostType === 'html' ? `/${file}` : { relative: true }) },
  plugins: [mockApiPlugin()],
  esbuild: { jsx: 'automatic', jsxImportSource: 'preact' },
  build: {
    target: 'es2022',
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    sourcemap: false,
  },
});
