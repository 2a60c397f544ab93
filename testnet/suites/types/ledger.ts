// A contract that uses what vats give, for the compiler to check: `make types`. Lines after "expect an error" must not compile.
import 'ses';
import '@endo/init';
import sameHarden from '@agoric/harden';
import { Nat as sameNat } from '@agoric/nat';
import { E, Far, getInterfaceOf, passStyleOf } from '@endo/far';
import { HandledPromise as Handled } from '@endo/eventual-send';
import hardened from '@endo/harden';
import { Nat as BigNat, ZERO_N, isNat } from '@endo/nat';
import { isPromise, makePromiseKit as makeKit } from '@endo/promise-kit';
import { PASS_STYLE, getTag, makeTagged } from '@endo/pass-style';
import { deeplyFulfilled } from '@endo/marshal';
import {
  initEmpty,
  makeScalarBigMapStore,
  prepareExo,
  prepareExoClass,
  prepareExoClassKit,
  provide,
  provideDurableMapStore,
  provideDurableSetStore,
} from '@agoric/vat-data';

interface Bank {
  deposit(amount: bigint): bigint;
  account(name: string): Promise<Account>;
}
interface Account {
  balance(): bigint;
}
interface Argv extends VatArgv {
  bank: Bank;
  limit: number;
}
interface Entry {
  name: string;
  amount: bigint;
}

export default async ({ bank, limit, timer, exit }: Argv, baggage: VatBaggage) => {
  const makeEntry = prepareExoClass(
    baggage,
    'Entry',
    undefined,
    (name: string): Entry => ({ name, amount: 0n }),
    {
      add(amount: bigint): bigint {
        this.state.amount += amount;
        // expect an error: the state has no such value
        // @ts-expect-error
        this.state.nothing = 1;
        return this.self.look()[1];
      },
      look(): [string, bigint] {
        return [this.state.name, this.state.amount];
      },
    },
    { migrate: (state: Partial<Entry>): Entry => ({ name: '', amount: 0n, ...state }) },
  );
  const makePair = prepareExoClassKit(baggage, 'Pair', { reader: undefined }, () => ({ n: 1 }), {
    reader: {
      read(): number {
        return this.state.n;
      },
    },
    writer: {
      write(n: number): { read(): number } {
        this.state.n = n;
        return this.facets.reader;
      },
    },
  });
  const desk = prepareExo(baggage, 'Desk', undefined, { greet: (name: string) => `good day, ${name}` });
  const entries = provideDurableMapStore(baggage, 'entries');
  const seen = provideDurableSetStore(baggage, 'seen');
  const other = makeScalarBigMapStore('other', { durable: true });
  const begun = provide(baggage, 'begun', () => timer?.now() ?? 0);
  const { promise, resolve, reject } = makePromiseKit<number>();
  const kit = makeKit<string>();
  kit.resolve('text');

  const account = E(bank).account('ann');
  const balance: bigint = await E(account).balance();
  const deposited: Promise<bigint> = E(bank).deposit(5n);
  // expect an error: an amount is a bigint
  // @ts-expect-error
  E(bank).deposit(5);
  // expect an error: there is no such method
  // @ts-expect-error
  E(bank).withdraw(5n);
  E.sendOnly(bank).deposit(1n);
  E.cancel(deposited);
  const entry = makeEntry('ann');
  entries.init('ann', entry);
  seen.add(entry);
  other.init('x', harden({ a: [1, 2] }));
  const read: number = makePair().writer.write(3).read();
  const tagged = makeTagged('amount', harden({ value: 1n }));
  const settled = await deeplyFulfilled(harden([promise]));

  if (timer !== undefined) {
    const until: number = await timer.delay(1_000);
    const { cancel } = timer.repeat(60_000, Far('clock', { wake: (now: number) => console.log(now) }));
    await timer.withDeadline(promise, until);
    cancel();
  }
  const compartment = new Compartment({ globals: { limit }, __options__: true });

  return Far('ledger', {
    enter: (name: string, amount: bigint): bigint => makeEntry(name).add(BigNat(amount)),
    open: (name: string) => makeEntry(name),
    find: (name: string): unknown => entries.get(name),
    greet: (name: string): string => desk.greet(name),
    facts: () => harden([balance, begun, read, getTag(tagged), settled, passStyleOf(tagged), getInterfaceOf(entry), isNat(1n), ZERO_N, isPromise(promise)]),
    bytes: (text: string) => new TextEncoder().encode(text),
    text: (bytes: Uint8Array) => new TextDecoder().decode(bytes),
    evaluate: (code: string): unknown => compartment.evaluate(code),
    confined: (code: string): unknown => SES.confine(code, { limit }),
    async wait() {
      await E.whenCancelled();
      resolve(Nat(limit));
      queueMicrotask(() => reject(Error('too late')));
    },
    send: (target: unknown) => Handled.applyMethod(target, 'go', []),
    style: () => String(PASS_STYLE),
    hardened: () => hardened(structuredClone({ a: atob(btoa('x')) })),
    empty: initEmpty,
    old: (target: object) => sameHarden([new Flow().makeVow<object>(settle => settle(target)).e.go(1).fork(), Vow.join(target, target), asVow(1).then(n => sameNat(n))]),
    checked(name: unknown): string {
      assert.string(name);
      assert(name.length < limit, assert.details`the name ${assert.quote(name)} is too long`);
      return name;
    },
    end: () => exit?.('done'),
  });
};
