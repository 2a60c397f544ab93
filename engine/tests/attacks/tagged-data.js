// Tagged data survives passing; what only looks like it does not.
// call make "t",[1,{"a":2}] => ok {"@tagged":["t",[1,{"a":2}]]}
// call look {"@tagged":["set",[1]]} => ok ["tagged","set",[1],true,["payload"],"[object set]"]
// call back {"@tagged":["t",{"@tagged":["u",null]}]} => ok [{"@tagged":["t",{"@tagged":["u",null]}]},[{"@tagged":["t",{"@tagged":["u",null]}]}]]
// call own => ok {"@tagged":["own",1]}
// call more => no cannot have the symbol
// call hidden => no cannot have the symbol
// call getter => no a getter or setter cannot be passed
// call bad => no cannot be passed
// call inside => no at .result.payload[1]: an object with both methods and data
// call numbers => ok "TypeError: makeTagged: the tag must be a string, not number"
// call fulfilled => ok {"@tagged":["t",[1]]}
// call checks => ok [true,true,"TypeError: getTag: tagged data is needed"]
// call surrogate => no a tag with a lone surrogate
import { Far, passStyleOf } from '@endo/far';
import { makeTagged, getTag, deeplyFulfilled, PASS_STYLE } from '@endo/pass-style';
import { makeTagged as same } from '@endo/marshal';
export default function () {
  const shaped = (...more) => harden(Object.create(Object.prototype, Object.assign({
    [Symbol.for('passStyle')]: { value: 'tagged' }, [Symbol.toStringTag]: { value: 'own' }, payload: { value: 1, enumerable: true },
  }, ...more)));
  const attempt = f => { try { return f(); } catch (error) { return `${error.name}: ${error.message}`; } };
  return Far('root', {
    make(tag, payload) { return makeTagged(tag, payload); },
    look(t) { return [passStyleOf(t), getTag(t), t.payload, Object.isFrozen(t), Object.keys(t), `${t}`]; },
    back(t) { return [t, [t]]; },
    own() { return shaped(); },
    more() { return shaped({ extra: { value: 1, enumerable: true } }); },
    hidden() { return shaped({ payload: { value: 1 } }); },
    getter() { return shaped({ payload: { get() { return 1; }, enumerable: true } }); },
    bad() { return makeTagged('t', new Map()); },
    inside() { return makeTagged('t', [() => {}, { m() {}, x: 1 }]); },
    numbers() { return attempt(() => makeTagged(5, 1)); },
    async fulfilled() { return deeplyFulfilled(makeTagged('t', [Promise.resolve(1)])); },
    checks() { return [makeTagged === same, PASS_STYLE === Symbol.for('passStyle'), attempt(() => getTag({}))]; },
    surrogate() { return makeTagged('a\ud800', 1); },
  });
}
