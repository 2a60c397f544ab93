// tries: to get at random numbers
// defence: lockdown: Math is tame; nothing else gives any
import { trying } from './lib.js';

export const attempt = () => trying({
  math: () => typeof Math.random() === 'number',
  compartment: () => typeof new Compartment().evaluate('Math.random()') === 'number',
  crypto: () => typeof crypto !== 'undefined',
  sorted: () => new Set(Array.from({ length: 20 }, () => [3, 1, 2].sort(() => 0).join())).size !== 1,
  symbol: () => Symbol('x').toString() !== 'Symbol(x)',
});
