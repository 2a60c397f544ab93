// Builds the page into the folder that the command line names: build.rs runs this.
import { build } from 'vite';

const [outDir] = process.argv.slice(2);
if (!outDir) throw Error('usage: node build.mjs FOLDER');
await build({
  configFile: false,
  root: import.meta.dirname ?? new URL('.', import.meta.url).pathname,
  logLevel: 'warn',
  publicDir: false,
  esbuild: { jsx: 'automatic', jsxImportSource: 'preact', legalComments: 'none' },
  build: {
    outDir,
    emptyOutDir: true,
    target: 'es2022',
    // Everything comes from the page's own server: nothing may be inlined, by its Content Security Policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
});
