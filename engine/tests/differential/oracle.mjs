// What Node makes of programs.
//
//   node oracle.mjs generate DIRECTORY FIRST COUNT    writes the programs of these seeds
//   node oracle.mjs run DIRECTORY                     runs what is there; prints one JSON object, from names to results
//   node oracle.mjs smaller DIRECTORY NAME MOST ROUND writes smaller programs, made from current.js, which was called NAME

import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { HEAD, program } from './generate/program.mjs';
import { smaller } from './generate/smaller.mjs';

const [task, directory, first, second, third] = process.argv.slice(2);

const write = programs => {
  mkdirSync(directory, { recursive: true });
  copyFileSync(join(dirname(fileURLToPath(import.meta.url)), 'lib.js'), join(directory, 'lib.js'));
  writeFileSync(join(directory, 'package.json'), '{ "type": "module" }\n');
  for (const [name, text] of programs) writeFileSync(join(directory, name), text);
};

const generate = (from, count) => {
  const name = seed => `p${seed}.js`;
  write(Array.from({ length: count }, (_, i) => [name(from + i), program(from + i, name(from + i))]));
};

const shrink = (name, most, round) => {
  const text = readFileSync(join(directory, 'current.js'), 'utf8');
  const head = HEAD.replaceAll('SELF', name);
  const candidates = smaller(text, text.startsWith(head) ? head : '', most, round);
  // A program imports itself by its name.
  write(candidates.map((one, i) => [`p${i}.js`, one.replaceAll(`'./${name}'`, `'./p${i}.js'`)]));
};

const run = async () => {
  // What programs leave unhandled is no end of the others.
  process.on('unhandledRejection', () => {});
  const at = name => pathToFileURL(join(directory, name)).href;
  const lib = await import(at('lib.js'));
  const results = {};
  for (const name of readdirSync(directory).filter(one => /^p\d+\.js$/.test(one))) {
    results[name] = await lib.run(() => import(at(name)));
    await new Promise(resolve => setImmediate(resolve));
  }
  process.stdout.write(JSON.stringify(results));
};

const tasks = {
  generate: () => generate(Number(first), Number(second)),
  run,
  smaller: () => shrink(first, Number(second), Number(third)),
};
await tasks[task]();
