// Awaits at its top level only in the head of a loop.
export let done = false;
for await (const item of [1, 2]) if (item === 2) done = true;
