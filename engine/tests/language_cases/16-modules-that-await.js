// Modules that await at their top level: `import()` settles when their evaluation has ended, and always settles.
const thrown = async load => {
  try {
    await load();
    return 'fulfilled';
  } catch (error) {
    return `${error.name}: ${error.message}`;
  }
};

export default [
  ['a loop that awaits in its head only', async () => (await import('./lib-await-loop.mjs')).done, true],
  ['what a loop around it closes', async () => (await import('./lib-await-caught.mjs')).order, ['closed', 1, 'end']],
  ['nested in a label, a switch and a try', async () => (await import('./lib-await-nested.mjs')).order, ['a', 'finally', 'end']],
  ['who imports it waits', async () => (await import('./lib-await-importer.mjs')).seen, true],
  ['what such a loop throws', () => thrown(() => import('./lib-await-rejects.mjs')), 'RangeError: in a loop'],
  ['what it throws comes again', () => thrown(() => import('./lib-await-rejects.mjs')), 'RangeError: in a loop'],
  ['a module without await that throws after waiting', () => thrown(() => import('./lib-await-throws.mjs')), 'RangeError: after waiting'],
  ['its importer', () => thrown(() => import('./lib-await-parent.mjs')), 'RangeError: after waiting'],
  ['an importer that awaits itself', () => thrown(() => import('./lib-await-grandparent.mjs')), 'RangeError: after waiting'],
  ['it ran once', async () => (await import('./lib-await-slow.mjs')).order, ['slow', 'throws']],
  [
    'each half of a cycle waits for its own modules',
    async () => {
      const { a } = await import('./lib-await-cycle-a.mjs');
      const { later } = await import('./lib-await-cycle-b.mjs');
      const { order } = await import('./lib-await-cycle-log.mjs');
      return [a(), later(), order];
    },
    ['a', 'a', ['b after d', 'a after b and c']],
  ],
  [
    'a part that is asked for while it is being evaluated for another',
    async () => {
      const [{ root }, { part }, { part: again }] = await Promise.all([
        import('./lib-await-root.mjs'),
        import('./lib-await-part.mjs'),
        import('./lib-await-part.mjs'),
      ]);
      return [root, part, again];
    },
    ['root of part', 'part', 'part'],
  ],
  [
    'a member of a cycle while the cycle is being evaluated',
    async () => {
      const first = import('./lib-await-ring-a.mjs');
      const { order } = await import('./lib-await-cycle-log.mjs');
      for (let i = 0; i < 1000 && !order.includes('ring'); i += 1) await null;
      const { ringB } = await import('./lib-await-ring-b.mjs');
      const { ringA } = await first;
      return [ringA, ringB];
    },
    ['a b', 'b'],
  ],
];
