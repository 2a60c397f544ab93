// A species that captures the resolving functions would forge what the bank answers. Only `E` settles what `E` returns.
// call nothing => no has no method
import { E, Far } from '@endo/far';
export default async function (argv) {
  let stolen;
  class Evil extends Promise {
    constructor(executor) { super((res, rej) => { stolen = res; executor(res, rej); }); }
  }
  const target = Far('t', { m() { return 'true answer'; } });
  const p = Evil.resolve(target);
  const result = E(p).m();
  if (stolen) stolen('forged answer');
  const got = await result;
  console.log(got === 'true answer' && Object.getPrototypeOf(result) === Promise.prototype ? 'OK' : 'BAD', got);
  return Far('root', {});
}
