// tries: to change prototypes that have no name
// defence: lockdown finds them through syntax
import { trying } from './lib.js';

export const attempt = () => trying({
  ...Object.fromEntries([function* g() {}, async function* g() {}, async () => {}, [][Symbol.iterator](), new Map().entries(), new Set().values(), ''[Symbol.iterator](), 'a'.matchAll(/a/g),
    (function* g() {})(), [].values().map(x => x), Iterator.from({ next: () => ({ done: true }) })].map((x, i) =>
    [`kind ${i}`, () => { let p = Object.getPrototypeOf(x); for (; p && !Object.isFrozen(p) && Object.hasOwn(p, 'constructor') === false; p = Object.getPrototypeOf(p)) { /* up */ } p.poison = 1; return p.poison === 1; }])),
  arguments: () => { (function f() { arguments.__proto__.poison = 1; })(); return ({}).poison === 1; },
});
