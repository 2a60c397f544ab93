// Sets the scene, and says what comes of it: who has how much before and after. It gives Alice money and Bob goods, has them trade,
// and ends Alice's patience when Bob is not going to pay.
//
//   vat call driver trade alice        Alice pays first
//   vat call driver trade bob          Bob pays first
//   vat call driver cheat alice poor   with liar.js in Bob's place
import { E, Far } from '@endo/far';

export default function driver({ mint, alice, bob }) {
  const [moneyMint, goodsMint] = [E(mint).makeMint('money'), E(mint).makeMint('goods')];
  const owned = (money, goods) => harden({ money: E(moneyMint).makePurse(money), goods: E(goodsMint).makePurse(goods) });
  const purses = harden({ alice: owned(1000n, 0n), bob: owned(0n, 300n) });
  const opened = Promise.all([E(alice).open(purses.alice), E(bob).open(purses.bob, 2n)]);

  const balances = async () => {
    const of = ({ money, goods }) => Promise.all([E(money).getBalance(), E(goods).getBalance()]);
    const [ofAlice, ofBob] = await Promise.all([of(purses.alice), of(purses.bob)]);
    return harden({ alice: ofAlice.map(Number), bob: ofBob.map(Number) });
  };

  const trade = async (first, price, amount, isHonest) => {
    await opened;
    const { offered, banked } = await E(bob).next();
    const trading = E(alice).buy(bob, BigInt(price), BigInt(amount), first);
    // If Alice cannot pay, she does not even ask Bob.
    const ended = trading.then(outcome => {
      if (outcome !== 'traded') E.sendOnly(bob).notAsked();
      return offered;
    });
    const ofBob = await Promise.race([offered, ended]);
    if (!isHonest || ofBob !== 'offered') {
      await E(alice).giveUp();
    }
    const outcome = await trading;
    await banked;
    return harden({ outcome, bob: ofBob, balances: await balances() });
  };

  return Far('driver', {
    trade: (first, price = 30, amount = 10) => trade(first, price, amount, true),
    async cheat(first, lie, price = 30, amount = 10) {
      await opened;
      await E(bob).behave(lie);
      return trade(first, price, amount, false);
    },
    async balances() {
      await opened;
      return balances();
    },
  });
}
