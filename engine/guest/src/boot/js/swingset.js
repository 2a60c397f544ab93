// What `buildRootObject` of a SwingSet vat is called with. One function expression: called once, after lockdown, with the native powers; it
// returns the function from `argv` and the names of the endowments in it to the three arguments.
(function swingset(powers) {
  'use strict';

  const { harden, baggage } = powers;
  const { entries, fromEntries } = Object;

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
    return harden([vatPowers, vatParameters, baggage]);
  };
})
