// tries: to take a prototype from somewhere else
// defence: all is one realm; Reflect.construct gives nothing new
import { trying } from './lib.js';

export const attempt = () => trying({
  target: () => { const o = Reflect.construct(Map, [], Object); return o instanceof Map; },
  bound: () => { const f = function () {}.bind(); f.prototype = Array.prototype; return Array.isArray(new f()); },
  compartment: () => new Compartment().evaluate('Array') !== Array,
  error: () => { try { new Compartment().evaluate('null.x'); } catch (e) { return !(e instanceof TypeError); } return true; },
});
