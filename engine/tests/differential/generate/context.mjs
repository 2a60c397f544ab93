import { Random } from './random.mjs';

/** What may be written where we are: of the function that encloses it. */
const PLAIN = { yields: false, awaits: false, returns: true, constructs: false, supers: false, breaks: [], continues: [], loop: false };

/** A program under construction: its random source, the names in scope, and what the enclosing function allows. */
export class Context {
  constructor(seed) {
    this.random = new Random(seed);
    this.names = 0;
    this.places = 0;
    this.scopes = [[]];
    this.frame = { ...PLAIN, returns: false };
    this.functionDepth = 0;
  }

  chance(percent) {
    return this.random.chance(percent);
  }

  pick(list) {
    return this.random.pick(list);
  }

  /** A name that was not used before. */
  fresh(prefix = 'v') {
    this.names += 1;
    return `${prefix}${this.names}`;
  }

  /** The number of a place, for the trace. */
  place() {
    this.places += 1;
    return this.places;
  }

  declare(name, type, mutable, more = {}) {
    this.scopes.at(-1).push({ name, type, mutable, ...more });
    return name;
  }

  /** Names of this type in scope. */
  visible(type, mutable = false) {
    return this.scopes.flat().filter(one => (type === undefined || one.type === type) && (!mutable || one.mutable));
  }

  /** One of them, mostly a recent one. */
  variable(type, mutable = false) {
    const all = this.visible(type, mutable);
    if (all.length === 0) return undefined;
    return this.chance(60) ? all[all.length - 1 - this.random.below(Math.min(4, all.length))] : this.pick(all);
  }

  /** Makes something inside a block of its own. */
  block(make) {
    this.scopes.push([]);
    const made = make();
    this.scopes.pop();
    return made;
  }

  /** Makes something inside a function of its own. */
  inFunction(frame, make) {
    const outer = this.frame;
    this.frame = { ...PLAIN, ...frame };
    this.functionDepth += 1;
    const made = this.block(make);
    this.functionDepth -= 1;
    this.frame = outer;
    return made;
  }

  /** Makes something where only the loops and labels differ. */
  within(frame, make) {
    const outer = this.frame;
    this.frame = { ...outer, ...frame };
    const made = this.block(make);
    this.frame = outer;
    return made;
  }
}
