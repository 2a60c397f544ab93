// A chat room that knows who is there.
//
//   room.join(name, listener)   -> a seat. The listener is told of everything, in order:
//                                  hear({ type: 'joined' | 'said' | 'left', name, text? })
//   room.members()              -> the names of those who are there
//   seat.say(text), seat.leave()
//
// A member is gone when it says so, when its listener rejects a message (as the listener of a vat that has ended does), or when its
// listener leaves too many messages unanswered. With a timer in `argv` the room asks everybody now and then, so that it notices
// also while nobody speaks.
import { E, Far } from '@endo/far';

const MAX_MEMBERS = 200;
const MAX_NAME_LENGTH = 40;
const MAX_TEXT_LENGTH = 4000;
// A member that has not answered so many messages is not there. It also bounds what is kept for one that is slow.
const MAX_UNANSWERED = 500;
const CHECK_EVERY_MS = 10_000;

const checkText = (what, text, most) => {
  if (typeof text !== 'string' || text.length === 0 || text.length > most) {
    throw TypeError(`${what} is a text of 1 to ${most} letters`);
  }
  return text;
};

export default function chat({ timer }) {
  // Name -> { listener, unanswered, asked }. `asked`: a ping is not answered yet.
  const members = new Map();

  // Everybody hears of everything in the same order, and those who are gone are told of to all others. What is to be told while
  // something is told waits for its turn: a function that calls itself for each member would nest too deep.
  const events = [];
  let telling = false;
  const tellAll = event => {
    events.push(event);
    if (telling) {
      return;
    }
    telling = true;
    for (const next of events) {
      for (const [name, member] of [...members]) {
        send(name, member, E(member.listener).hear(next));
      }
    }
    events.length = 0;
    telling = false;
  };

  const drop = (name, member) => {
    if (members.get(name) === member) {
      members.delete(name);
      tellAll(harden({ type: 'left', name }));
    }
  };

  const send = (name, member, answer) => {
    member.unanswered += 1;
    answer.then(
      () => {
        member.unanswered -= 1;
      },
      () => drop(name, member),
    );
    if (member.unanswered > MAX_UNANSWERED) {
      drop(name, member);
    }
  };

  // Asks each member, and drops those who have not answered since the last time.
  const check = () => {
    for (const [name, member] of [...members]) {
      if (member.asked) {
        drop(name, member);
      } else {
        member.asked = true;
        E(member.listener)
          .ping()
          .then(
            () => {
              member.asked = false;
            },
            () => drop(name, member),
          );
      }
    }
  };

  const checkForEver = async () => {
    for (;;) {
      await E(timer).delay(CHECK_EVERY_MS);
      check();
    }
  };
  if (timer !== undefined) {
    checkForEver().catch(reason => console.error(`the room's timer has failed: ${reason}`));
  }

  return Far('room', {
    join(name, listener) {
      checkText('a name', name, MAX_NAME_LENGTH);
      if (members.has(name)) {
        throw Error(`${name} is there already`);
      }
      if (members.size >= MAX_MEMBERS) {
        throw RangeError('the room is full');
      }
      const member = { listener, unanswered: 0, asked: false };
      members.set(name, member);
      tellAll(harden({ type: 'joined', name }));

      const present = () => {
        if (members.get(name) !== member) {
          throw Error(`${name} is not there any more`);
        }
      };
      return Far('seat', {
        say(text) {
          present();
          checkText('what is said', text, MAX_TEXT_LENGTH);
          tellAll(harden({ type: 'said', name, text }));
        },
        leave() {
          present();
          drop(name, member);
        },
      });
    },
    members: () => harden([...members.keys()]),
  });
}
