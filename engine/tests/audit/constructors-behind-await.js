// tries: to reach constructors that have no name through what async code makes
// defence: lockdown finds them by syntax and takes their power
import { trying } from './lib.js';

const made = { af: async () => {}, ag: async function* g() {}, g: function* g() {}, method: { async m() {} }.m, star: { async *m() {} }.m, klass: (class { static async m() {} }).m };
const up = (value, levels) => { let at = value; for (let i = 0; i < levels && at; i += 1) at = Object.getPrototypeOf(at); return at; };
export const attempt = () => trying({
  ...Object.fromEntries(Object.entries(made).flatMap(([name, f]) => [0, 1].map(levels =>
    [`${name} ${levels}`, () => { const C = up(f, levels).constructor; const r = Reflect.construct(C, ['return 1']); return typeof r === 'function'; }]))),
  called: () => typeof made.af.constructor('return 1') === 'function',
  awaited: async () => { const C = await (async () => (async () => {}).constructor)(); return typeof C('return 1') === 'function'; },
  yielded: async () => { for await (const f of (async function* g() { yield async () => {}; })()) return typeof f.constructor('return 1') === 'function'; return false; },
  thenable: async () => { let C; await { then(resolve) { C = resolve.constructor; resolve(); } }; return C('return 1')() === 1; },
  executor: () => { let C; new Promise(resolve => { C = resolve.constructor; }); return C('return 1')() === 1; },
  subclass: () => { class F extends Object.getPrototypeOf(async () => {}).constructor {} return typeof new F('return 1') === 'function'; },
  derived: () => { class F extends Function {} return new F('return 1')() !== 1 ? true : new F('return typeof trying')() !== 'undefined'; },
  poisoned: async () => { const p = Object.getPrototypeOf(Object.getPrototypeOf(async function* g() {}.prototype)); p.next = () => 1; return true; },
  confined: () => SES.confine("typeof (async () => {}).constructor('return 1')") === 'function',
});
