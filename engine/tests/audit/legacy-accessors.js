// tries: to define accessors on what is frozen by the old ways
// defence: frozen objects refuse them
import { trying } from './lib.js';

export const attempt = () => trying({
  getter: () => { ({}).__defineGetter__.call(Array.prototype, 'poison', () => 1); return [].poison === 1; },
  setter: () => { ({}).__defineSetter__.call(Object.prototype, 'poison', () => 1); return 'poison' in {}; },
  proto: () => { Array.prototype.__proto__ = { poison: 1 }; return [].poison === 1; },
  setProto: () => { Object.setPrototypeOf(Function.prototype, { poison: 1 }); return (() => {}).poison === 1; },
});
