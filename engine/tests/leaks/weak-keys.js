// work 3000 x 400, slack 4
// Tables of weak keys settle slowly; what this does in the last 320 deliveries takes hundreds of MB if it is kept.
// Entries of weak collections that hold their own keys, in circles, and through proxies that are revoked.
export default function () {
  const map = new WeakMap();
  const set = new WeakSet();
  return {
    work(count) {
      for (let i = 0; i < count; i += 1) {
        const a = {};
        const b = { a };
        map.set(a, { b });
        map.set(b, { a });
        set.add(a);
        const { proxy, revoke } = Proxy.revocable({ a }, { b });
        map.set(proxy, proxy);
        map.set(Symbol('k'), b);
        revoke();
      }
      return count;
    },
  };
}
