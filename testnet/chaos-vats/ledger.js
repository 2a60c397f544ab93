// What `make chaos` calls: cells that are read, written and counted up, ids that are noted, and a run of messages that must come once each and in
// order.
import { Far } from '@endo/far';

export default () => {
  const cells = new Map();
  const noted = new Map();
  let messages = 0;
  let misplaced = 0;
  const read = (key) => cells.get(key) ?? 0;
  return Far('ledger', {
    read,
    write(key, value) {
      cells.set(key, value);
    },
    swap(key, from, to) {
      if (read(key) !== from) return false;
      cells.set(key, to);
      return true;
    },
    add(key, id) {
      noted.set(id, (noted.get(id) ?? 0) + 1);
      cells.set(key, read(key) + 1);
      return read(key);
    },
    message(number) {
      messages += 1;
      if (number !== messages) misplaced += 1;
      return messages;
    },
    times(ids) {
      return ids.map((id) => noted.get(id) ?? 0);
    },
    audit() {
      return [messages, misplaced, noted.size];
    },
  });
};
