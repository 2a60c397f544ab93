// What comes in is hardened: two objects that share an argument cannot change it under each other, nor can bytes be changed.
// call share [1] => ok 1
// call copies {"list":[{"deep":{"a":1}}]} => ok [true,"TypeError","TypeError","TypeError"]
// call bytes {"@bytes":"00ff"} => ok [0,2,true,true,0,[]]
// call read {"@bytes":"020100"} => ok [1,[1,0],[4,2,0],[2,1],[0,1,2],[2,9,0],2,1,{"@bytes":"0100"},{"@bytes":"0100"}]
// call back {"@bytes":"00ff"} => ok [{"@bytes":"00ff"},{"@bytes":"00ff"},2,{"@bytes":"00ff"}]
// call refused => no an ArrayBuffer that can change
// call error {"@error":{"name":"TypeError","message":"m"}} => ok true
import { E, Far } from '@endo/far';
const attempt = f => { try { f(); return 'BAD changed'; } catch (error) { return error.name; } };
export default function () {
  const evil = Far('evil', { look(list) { list.push('changed'); } });
  const frozen = x => Object.isFrozen(x) && Object.values(x).every(y => Object(y) !== y || frozen(y));
  return Far('root', {
    async share(list) { try { await E(evil).look(list); } catch (error) { /* right */ } return list.length; },
    copies(x) { return [frozen(x), attempt(() => { x.list[0].deep.more = 1; }), attempt(() => { x.list.length = 0; }), attempt(() => { delete x.list; })]; },
    bytes(b) {
      const ways = [
        () => { b[0] = 7; }, () => b.fill(7), () => b.set([7]), () => b.reverse(), () => b.sort(), () => b.copyWithin(0, 1), () => new DataView(b.buffer).setUint8(0, 7),
        () => { new Uint8Array(b.buffer)[0] = 7; }, () => Object.defineProperty(b, 0, { value: 7 }), () => Object.assign(b, [7]), () => b.buffer.resize(1), () => b.buffer.transfer(),
        () => b.subarray(0).fill(7), () => { b.extra = 1; }, () => { delete b[0]; }, () => Uint8Array.prototype.fill.call(b, 7),
        () => { class Same extends Uint8Array { constructor() { return b; } } new Uint8Array([7, 7]).map.call(Object.defineProperty(new Uint8Array([7, 7]), 'constructor', { value: Same }), x => x); },
      ];
      const results = ways.map(attempt);
      return [b[0], b.length, Object.isFrozen(b), b.buffer.immutable, b.slice(0)[0], results.filter(r => r !== 'TypeError')];
    },
    back(b) { return [b, b.buffer, b.buffer.slice(0).byteLength, new Uint8Array(b)]; },
    read(b) {
      const list = x => [...x];
      return [
        b.subarray(1)[0], list(b.subarray(1, 3)), list(b.map(x => x * 2)), list(b.filter(x => x > 0)), list(b.toSorted()), list(b.with(1, 9)), new DataView(b.buffer).getUint8(0), b.indexOf(1),
        b.subarray(1), new Uint8Array(b.buffer, 1),
      ];
    },
    refused() { return new ArrayBuffer(4); },
    async error(e) { try { e.message = 'x'; return 'BAD'; } catch (x) { return Object.isFrozen(e); } },
  });
}
