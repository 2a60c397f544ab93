// A name service that several parties share. Who may do what is a matter of which object one holds:
//
//   reader      lookup(name), names(): for everybody
//   registrar   register(name, object) as well, for at most so many names. Names are given to who comes first
//   owner       of one name: update(object), release(), transfer() -> a new owner; the old one is void
//   admin       makes readers and registrars, and evicts
//
// The vat's root is the admin.
import { Far, passStyleOf } from '@endo/far';
import { Nat } from '@endo/nat';

const MAX_NAMES = 10_000;
const MAX_NAME_LENGTH = 100;

const checkName = name => {
  if (typeof name !== 'string' || name.length === 0 || name.length > MAX_NAME_LENGTH) {
    throw TypeError(`a name is a text of 1 to ${MAX_NAME_LENGTH} letters`);
  }
  return name;
};

// The object itself: copies of data could be as large as a message, and fill the vat.
const objectOf = async reference => {
  const object = await reference;
  if (passStyleOf(object) !== 'remotable') {
    throw TypeError('only objects are registered, not data');
  }
  return object;
};

export default function names() {
  // Name -> { object, owner }. A Map: strings from outside are no property names.
  const entries = new Map();

  const entryOf = name => {
    const entry = entries.get(checkName(name));
    if (entry === undefined) {
      throw Error(`nothing is registered as ${name}`);
    }
    return entry;
  };

  const lookup = name => entryOf(name).object;
  const list = () => harden([...entries.keys()].sort());

  const makeOwner = (name, entry, released) => {
    // The entry itself says who owns it now, so an owner that was replaced can do nothing, whoever holds it.
    const owned = () => {
      if (entries.get(name) !== entry || entry.owner !== owner) {
        throw Error(`${name} is not yours any more`);
      }
      return entry;
    };
    const owner = Far('owner', {
      getName: () => name,
      async update(reference) {
        const object = await objectOf(reference);
        owned().object = object;
      },
      release() {
        owned();
        entries.delete(name);
        released();
      },
      transfer() {
        owned();
        return makeOwner(name, entry, released);
      },
    });
    entry.owner = owner;
    return owner;
  };

  const makeRegistrar = quota => {
    let left = quota;
    return Far('registrar', {
      lookup,
      names: list,
      async register(name, reference) {
        checkName(name);
        const object = await objectOf(reference);
        // After the wait: the name may have been given meanwhile.
        if (entries.has(name)) {
          throw Error(`${name} is taken`);
        }
        if (left === 0n || entries.size >= MAX_NAMES) {
          throw RangeError('no more names');
        }
        left -= 1n;
        const entry = { object, owner: undefined };
        entries.set(name, entry);
        return makeOwner(name, entry, () => {
          left += 1n;
        });
      },
    });
  };

  const reader = Far('reader', { lookup, names: list });

  return Far('admin of names', {
    reader: () => reader,
    makeRegistrar: quota => makeRegistrar(Nat(quota)),
    evict(name) {
      entryOf(name);
      entries.delete(name);
    },
  });
}
