// What `buildRootObject` of a SwingSet vat is called with. One function expression: called once, after lockdown, with the native powers; it
// returns the function from `argv` and the names of the endowments in it to the three arguments.
(function swingset(powers) {
  'use strict';

  const { Far, harden, passStyle, line } = powers;
  const { entries, fromEntries } = Object;

  const checkedKey = key => {
    if (Object(key) === key && passStyle(harden(key)) !== 'remotable') {
      throw TypeError('baggage: a key must be a string, another primitive value, or a reference');
    }
    return key;
  };

  const checkedValue = value => {
    if (Object(harden(value)) === value) passStyle(value);
    return value;
  };

  // A store as in @agoric/store. The heap lasts as long as the vat, so it needs no more than to be there.
  const makeBaggage = () => {
    const map = new Map();
    const mustHave = key => {
      if (!map.has(key)) throw Error(`baggage: the key ${line(key)} is not there`);
    };
    return Far('baggage', {
      has: key => map.has(key),
      get(key) {
        mustHave(key);
        return map.get(key);
      },
      init(key, value) {
        if (map.has(key)) throw Error(`baggage: the key ${line(key)} is there already`);
        map.set(checkedKey(key), checkedValue(value));
      },
      set(key, value) {
        mustHave(key);
        map.set(key, checkedValue(value));
      },
      delete(key) {
        mustHave(key);
        map.delete(key);
      },
      getSize: () => map.size,
      keys: () => harden([...map.keys()]),
      values: () => harden([...map.values()]),
      entries: () => harden([...map.entries()]),
      clear: () => { map.clear(); },
    });
  };

  return (argv, endowments) => {
    const isEndowment = ([name]) => endowments.includes(name);
    const given = fromEntries(entries(argv).filter(isEndowment));
    const vatParameters = fromEntries(entries(argv).filter(entry => !isEndowment(entry)));
    const { exit } = given;
    const leaving = exit === undefined ? {} : {
      exitVat: completion => { exit(completion); },
      exitVatWithFailure: reason => { exit(reason); },
    };
    const vatPowers = { ...given, ...leaving, testLog: (...args) => { console.log(...args); } };
    return harden([vatPowers, vatParameters, makeBaggage()]);
  };
})
