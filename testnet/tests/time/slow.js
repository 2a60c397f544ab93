// Never answers, and hears when nobody waits any more.
import { Far } from '@endo/far';

export default function slow() {
  let heard = 0;
  return Far('slow', {
    work() {
      E.whenCancelled().then(() => { heard += 1; });
      return new Promise(() => {});
    },
    heard: () => heard,
  });
}
