// work 3000 x 40
// One of everything.
export default function () {
  let n = 0;
  return {
    work(count) {
      for (let i = 0; i < count; i += 1) {
        n += 1;
        new RegExp(`a${n}b*`).test(`xa${n}bb`);
        class C { #p = n; get() { return this.#p; } static s = n; } new C().get();
        Promise.resolve(n).then(x => x); (async () => { await 0; return n; })();
        const g = (function* g() { yield n; yield 2; })(); g.next(); [[1, 2]][Symbol.iterator]().next();
        try { throw Error(`e ${n}`); } catch (e) { e.message; } new Proxy({}, {}).x; harden({ a: [n] });
        Far(`purse ${n} ${"y".repeat(200)}`, { m() {} }); new Uint8Array(100)[0] = n; `${n}`.normalize("NFC"); BigInt(n) ** 2n;
      }
      return n;
    },
  };
}
