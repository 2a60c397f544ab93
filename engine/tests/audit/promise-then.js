// tries: to listen to the promises of others
// defence: lockdown: Promise.prototype is frozen
import { trying } from './lib.js';

export const attempt = () => trying({
  then: () => { Promise.prototype.then = function then() { return 'poison'; }; return Promise.resolve().then() === 'poison'; },
  constructor: () => { Promise.prototype.constructor = Object; return Promise.resolve(1).then(x => x) instanceof Promise === false; },
  species: () => { Object.defineProperty(Promise, Symbol.species, { get: () => Object }); return Promise[Symbol.species] === Object; },
  all: () => { Promise.all = () => 1; return Promise.all([]) === 1; },
});
