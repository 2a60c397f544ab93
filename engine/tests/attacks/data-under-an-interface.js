// Data under a prototype that `Far` made, beside it in a function, or inherited: all that passes by reference shows methods only.
// call give "direct" => no cannot be passed
// call give "hidden" => no cannot be passed
// call give "getter" => no cannot be passed
// call give "symbol" => no cannot be passed
// call give "inherited" => no cannot be passed
// call give "inheritedPlainly" => no cannot be passed
// call give "map" => no cannot be passed
// call give "generator" => no cannot be passed
// call give "arrow" => no cannot be passed
// call give "method" => no cannot be passed
// call give "classes" => no cannot be passed
// call give "proxied" => no cannot be passed
// call classic => ok
import { Far, passStyleOf } from '@endo/far';
export default function () {
  const interfaceOf = Object.getPrototypeOf(Far('X', {}));
  const secret = { value: 42, enumerable: true };
  const withData = f => { const g = f(); Object.assign(g, { data: { x: 1 } }); return harden(g); };
  const values = {
    direct: harden(Object.create(interfaceOf, { secret })),
    hidden: harden(Object.create(interfaceOf, { secret: { value: 42 } })),
    getter: harden(Object.create(interfaceOf, { secret: { get() { return 42; } } })),
    symbol: harden(Object.create(interfaceOf, { [Symbol('s')]: secret })),
    inherited: harden(Object.create(Object.create(interfaceOf, { secret }))),
    inheritedPlainly: harden(Object.create({ secret: 42, m() {} })),
    map: harden(Object.setPrototypeOf(new Map([[1, 2]]), interfaceOf)),
    generator: harden((function* g() { yield 'secret'; })()),
    arrow: withData(() => () => 1),
    method: withData(() => ({ m() {} }).m),
    classes: withData(() => class {}),
    proxied: harden(Object.create(new Proxy({}, { get: () => 42 }))),
  };
  let bad = 0;
  for (const [name, value] of Object.entries(values)) {
    let style;
    try { style = passStyleOf(value); } catch (error) { style = 'refused'; }
    if (style !== 'refused') { bad += 1; console.log('BAD', name, style); }
  }
  console.log(bad ? 'BAD' : 'OK', bad);
  return Far('root', {
    give(name) { return values[name]; },
    classic() { return harden(class { static make() { return 1; } }); },
  });
}
