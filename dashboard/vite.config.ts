import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';

// File names are fixed: hashed names would leave orphans in the committed dist, and the Go
// handler sends ETags.
export default defineConfig({
  base: '/monitor/',
  plugins: [svelte()],
  build: {
    target: 'es2022',
    // light-dark() as it is written: the fallback for older browsers is three times the size.
    cssTarget: ['chrome123', 'firefox120', 'safari17.5'],
    outDir: 'dist',
    emptyOutDir: true,
    // The page's policy has no data: sources.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    rolldownOptions: {
      output: {
        // What several chunks need comes with the first load, in a file of a name that stays; apart from it what
        // only those that come later need.
        codeSplitting: {
          groups: [
            {
              name: 'later',
              test: /src\/(draw\/scale|core\/detail)\.ts/,
              priority: 1,
              includeDependenciesRecursively: false,
            },
            { name: 'shared', minShareCount: 2 },
          ],
        },
        entryFileNames: 'app.js',
        chunkFileNames: '[name].js',
        assetFileNames: (asset) => (asset.names.includes('index.css') ? 'app.css' : '[name][extname]'),
      },
    },
  },
  test: { include: ['src/**/*.test.ts'], environment: 'node', testTimeout: 60_000 },
});
