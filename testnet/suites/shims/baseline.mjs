// Runs a file of tests in Node.js under Endo's own lockdown, as an entry is run in a vat.
import '@endo/init';
import { pathToFileURL } from 'node:url';

globalThis.Far = (_, object) => object;
globalThis.lockdown = () => {};
const LONG_MS = 60_000;
const { default: make } = await import(pathToFileURL(process.argv[2]));
const suite = make();
const titles = await suite.titles();
for (let index = 0; index < titles.length; index += 1) {
  const [title, skipped] = titles[index];
  const late = new Promise(resolve => setTimeout(resolve, LONG_MS, 'it waits for what does not come').unref());
  const outcome = skipped ? 'skipped' : await Promise.race([suite.run(index).catch(error => String(error)), late]);
  process.stdout.write(`ran ${JSON.stringify([title, String(outcome).slice(0, 400)])}\n`);
}
process.exit(0);
