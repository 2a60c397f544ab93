// What the example contracts promise, checked from outside of them: by a vat of its own, or by code in the same vat. Each check
// answers with a list of what did not hold.
import { E, Far } from '@endo/far';

export default function checks({ mint, host, names, chat, clock, escrow, coveredCall, auction }) {
  const refusal = promise => E.when(promise, () => 'not refused', reason => `${reason.name}: ${reason.message}`);

  // Two currencies, each made anew, and a full purse of both.
  const wealth = async () => {
    const [gold, corn] = await Promise.all([E(mint).makeMint('gold'), E(mint).makeMint('corn')]);
    const [goldIssuer, cornIssuer] = await Promise.all([E(gold).getIssuer(), E(corn).getIssuer()]);
    const purse = async (of, amount) => E(of).makePurse(amount);
    return { gold, corn, goldIssuer, cornIssuer, purse };
  };
  const balance = async purse => E(purse).getBalance();
  // Never decided: for who does not pay and does not refuse either.
  const never = new Promise(() => {});

  const mints = async check => {
    const { gold, goldIssuer, corn, purse } = await wealth();
    const [mine, yours, grain] = await Promise.all([purse(gold, 100n), purse(gold, 5n), purse(corn, 7n)]);
    const sum = async () => (await balance(mine)) + (await balance(yours));

    await E(yours).deposit(30n, mine);
    check('a deposit moves an amount', (await balance(mine)) === 70n && (await balance(yours)) === 35n);
    await E(yours).deposit(2, mine);
    check('numbers do as well', (await balance(yours)) === 37n);
    await E(mine).deposit(68n, mine);
    check('into itself nothing moves', (await balance(mine)) === 68n);
    await E(yours).deposit(0n, mine);
    await E(yours).deposit(1n, Promise.resolve(mine));
    check('a purse may come as a promise', (await balance(yours)) === 38n);

    for (const amount of [-1n, -1, 1.5, NaN, Infinity, '1', null, undefined, {}, 2 ** 60]) {
      check(`not ${String(amount)}`, (await refusal(E(yours).deposit(amount, mine))) !== 'not refused');
    }
    check('not more than there is', (await refusal(E(yours).deposit(68n, mine))).startsWith('RangeError'));
    const forged = Far('purse', { getBalance: () => 9n, getIssuer: () => goldIssuer, deposit: () => undefined });
    for (const [what, source] of Object.entries({ forged, grain, goldIssuer, gold, none: undefined, text: 'gold' })) {
      check(`nothing from ${what}`, (await refusal(E(yours).deposit(1n, source))).startsWith('TypeError'));
    }
    check('nothing was made or lost', (await sum()) === 105n && (await E(gold).getIssued()) === 105n);
    check('nor elsewhere', (await balance(grain)) === 7n && (await E(corn).getIssued()) === 7n);

    const receiver = await E(mine).getReceiver();
    await E(receiver).deposit(8n, yours);
    check('a receiver takes deposits', (await balance(mine)) === 75n);
    check('and cannot be spent', (await refusal(E(yours).deposit(1n, receiver))).startsWith('TypeError'));
    check('nor looked into', (await refusal(E(receiver).getBalance())).startsWith('TypeError'));
    check('an issuer makes empty purses', (await balance(E(goldIssuer).makeEmptyPurse())) === 0n);
    check('and no full ones', (await refusal(E(goldIssuer).makePurse(1n))).startsWith('TypeError'));
    check('a purse names its issuer', (await E(mine).getIssuer()) === goldIssuer);
    check('many deposits at once', (await Promise.all([...Array(20)].map(() => E(yours).deposit(1n, mine)))).length === 20);
    check('all of them count', (await balance(mine)) === 55n && (await sum()) === 105n);
    const race = await Promise.all([refusal(E(yours).deposit(40n, mine)), refusal(E(yours).deposit(40n, mine))]);
    check('an amount is spent once', race.filter(end => end === 'not refused').length === 1 && (await sum()) === 105n);
  };

  // The wealth of two parties, and the contract between them, set up.
  const exchange = async (more = {}) => {
    const found = await wealth();
    const { gold, corn, goldIssuer, cornIssuer, purse } = found;
    const terms = harden({
      buyer: { issuer: goldIssuer, amount: 30n },
      seller: { issuer: cornIssuer, amount: 10n },
      ...more,
    });
    const tokens = await E(host).setup(escrow, terms);
    const seats = {
      buyer: await E(host).redeem(tokens.buyer, escrow, 'buyer'),
      seller: await E(host).redeem(tokens.seller, escrow, 'seller'),
    };
    return { ...found, terms, tokens, seats, money: await purse(gold, 100n), goods: await purse(corn, 25n) };
  };

  const hosts = async check => {
    const { goldIssuer, cornIssuer } = await wealth();
    const terms = harden({ buyer: { issuer: goldIssuer, amount: 1n }, seller: { issuer: cornIssuer, amount: 2n } });
    const { buyer, seller } = await E(host).setup(escrow, terms);
    const described = await E(host).describe(buyer);
    check('a token tells its contract', described.source === escrow && described.role === 'buyer');
    check('and its terms', described.terms.buyer.amount === 1n && (await described.terms.seller.issuer) === cornIssuer);
    check('not for another contract', (await refusal(E(host).redeem(buyer, auction, 'buyer'))).includes('not used'));
    check('nor for another role', (await refusal(E(host).redeem(buyer, escrow, 'seller'))).includes('not used'));
    const seat = await E(host).redeem(buyer, escrow, 'buyer');
    check('a token gives a seat', (await refusal(E(seat).offer(undefined))).startsWith('TypeError'));
    check('once', (await refusal(E(host).redeem(buyer, escrow, 'buyer'))).includes('used already'));
    check('and tells nothing afterwards', (await refusal(E(host).describe(buyer))).includes('used already'));
    const renewed = await E(host).renew(seller);
    check('a token that was renewed is void', (await refusal(E(host).redeem(seller, escrow, 'seller'))).includes('used'));
    const both = [renewed, renewed].map(token => refusal(E(host).redeem(token, escrow, 'seller')));
    check('two get one seat', (await Promise.all(both)).filter(end => end === 'not refused').length === 1);
    const late = Promise.resolve((await E(host).setup(escrow, terms)).seller);
    const same = [late, late].map(token => refusal(E(host).redeem(token, escrow, 'seller')));
    check('also by promises', (await Promise.all(same)).filter(end => end === 'not refused').length === 1);
    for (const token of [undefined, null, 7, 'token', {}, Far('token', {}), host]) {
      check(`no seat for ${typeof token}`, (await refusal(E(host).redeem(token, escrow, 'buyer'))).startsWith('TypeError'));
    }

    const run = source => refusal(E(host).setup(source, harden({})));
    check('a contract is a function', (await run('42')).includes('one function'));
    check('and text', (await run(7)).includes('text'));
    check('that can be parsed', (await run('({ terms }) => {')).startsWith('SyntaxError'));
    check('its throwing is told', (await run('() => { throw RangeError("no"); }')) === 'RangeError: no');
    check('it has no more than it is given', (await run('() => { throw Error(typeof console + typeof seats); }')).endsWith('undefinedundefined'));
    check('and cannot alter the language', (await run('() => { Array.prototype.map = 1; }')).startsWith('TypeError'));
    const made = await E(host).setup(
      '({ terms }) => ({ echo: Far("echo", { get: () => terms.thing, set: n => Nat(n) }) })',
      harden({ thing: Promise.resolve(goldIssuer) }),
    );
    const echo = E(host).redeem(made.echo, (await E(host).describe(made.echo)).source, 'echo');
    check('references in terms are waited for', (await E(echo).get()) === goldIssuer);
    check('Nat is at hand', (await E(echo).set(5)) === 5n);
  };

  const escrows = async check => {
    for (const order of ['buyer first', 'seller first']) {
      const { seats, money, goods } = await exchange();
      const offers = [() => E(seats.buyer).offer(money), () => E(seats.seller).offer(goods)];
      if (order === 'seller first') offers.reverse();
      for (const offer of offers) await offer();
      check(`${order}: traded`, (await E(seats.buyer).outcome()) === 'traded' && (await E(seats.seller).outcome()) === 'traded');
      const [bought, earned] = await Promise.all([E(seats.buyer).payout(), E(seats.seller).payout()]);
      check(`${order}: the buyer has the goods`, (await balance(bought)) === 10n);
      check(`${order}: the seller has the money`, (await balance(earned)) === 30n);
      check(`${order}: no more was taken`, (await balance(money)) === 70n && (await balance(goods)) === 15n);
      check(`${order}: too late to cancel`, (await E(seats.seller).cancel()) === 'traded');
      await E(goods).deposit(10n, bought);
      await E(money).deposit(30n, earned);
      check(`${order}: nothing was made or lost`, (await balance(money)) === 100n && (await balance(goods)) === 25n);
      check(`${order}: nothing more is taken`, (await refusal(E(seats.buyer).offer(money))).includes('nothing more'));
    }

    const { seats, money, goods, gold, purse } = await exchange();
    await E(seats.buyer).offer(money);
    check('one offer each', (await refusal(E(seats.buyer).offer(money))).includes('already'));
    check('no other currency', (await refusal(E(seats.seller).offer(money))).startsWith('TypeError'));
    check('nor too little', (await refusal(E(seats.seller).offer(await purse(gold, 5n)))).startsWith('TypeError'));
    check('nor nothing', (await refusal(E(seats.seller).offer())).startsWith('TypeError'));
    check('it is not decided by that', (await E(seats.buyer).cancel()) === 'cancelled');
    const back = await E(seats.buyer).payout();
    check('the buyer gets back what he gave', (await balance(back)) === 30n && (await balance(money)) === 70n);
    check('the seller gets nothing', (await balance(E(seats.seller).payout())) === 0n);
    check('and can give nothing', (await refusal(E(seats.seller).offer(goods))).includes('nothing more'));

    const again = await exchange();
    await refusal(E(again.seats.seller).offer(again.money));
    await Promise.all([E(again.seats.seller).offer(again.goods), E(again.seats.buyer).offer(again.money)]);
    check('who erred may try again', (await E(again.seats.buyer).outcome()) === 'traded');

    const hung = await exchange();
    await E(hung.seats.buyer).offer(hung.money);
    E.sendOnly(hung.seats.seller).offer(never);
    check('who hangs holds nobody up', (await E(hung.seats.buyer).cancel()) === 'cancelled');
    check('and the other is paid', (await balance(E(hung.seats.buyer).payout())) === 30n);

    const timed = await exchange({ deadline: (await E(clock).now()) + 1000 });
    await E(timed.seats.seller).offer(timed.goods);
    await E(clock).advance(999);
    check('open before its deadline', (await balance(timed.goods)) === 15n);
    await E(clock).advance(1);
    check('a deadline cancels', (await E(timed.seats.buyer).outcome()) === 'cancelled');
    check('and pays back', (await balance(E(timed.seats.seller).payout())) === 10n);
  };

  // The seats of an option for 10 of corn at 30 of gold, within a second.
  const option = async () => {
    const found = await wealth();
    const { gold, corn, goldIssuer, cornIssuer, purse } = found;
    const terms = harden({
      goods: { issuer: cornIssuer, amount: 10n },
      strike: { issuer: goldIssuer, amount: 30n },
      deadline: (await E(clock).now()) + 1000,
    });
    const tokens = await E(host).setup(coveredCall, terms);
    const writer = await E(host).redeem(tokens.writer, coveredCall, 'writer');
    const sold = await E(host).renew(tokens.holder);
    const holder = await E(host).redeem(sold, coveredCall, 'holder');
    return { ...found, writer, holder, money: await purse(gold, 100n), goods: await purse(corn, 25n) };
  };

  const options = async check => {
    const { writer, holder, money, goods } = await option();
    check('not before it is covered', (await refusal(E(holder).exercise(money))).includes('not covered'));
    await E(writer).cover(goods);
    await E(holder).covered();
    check('nor for less', (await refusal(E(holder).exercise(goods))).startsWith('TypeError'));
    await E(clock).advance(500);
    await E(holder).exercise(money);
    check('exercised', (await E(writer).outcome()) === 'exercised' && (await E(holder).outcome()) === 'exercised');
    await E(clock).advance(1000);
    check('the deadline changes nothing any more', (await E(holder).waive()) === 'exercised');
    const [earned, bought] = await Promise.all([E(writer).payout(), E(holder).payout()]);
    check('the writer has the strike price', (await balance(earned)) === 30n && (await balance(goods)) === 15n);
    check('the holder has the goods', (await balance(bought)) === 10n && (await balance(money)) === 70n);

    const late = await option();
    await E(late.writer).cover(late.goods);
    await E(late.holder).covered();
    await E(clock).advance(1000);
    check('expired', (await E(late.holder).outcome()) === 'expired');
    check('too late', (await refusal(E(late.holder).exercise(late.money))).includes('nothing more'));
    check('the writer has the goods back', (await balance(E(late.writer).payout())) === 10n);
    check('the holder has paid nothing', (await balance(E(late.holder).payout())) === 0n && (await balance(late.money)) === 100n);

    const hung = await option();
    await E(hung.writer).cover(hung.goods);
    await E(hung.holder).covered();
    E.sendOnly(hung.holder).exercise(never);
    await E(clock).advance(1000);
    check('a payment that never comes is too late', (await E(hung.writer).outcome()) === 'expired');
    check('and keeps no goods', (await balance(E(hung.writer).payout())) === 10n);

    const waived = await option();
    await E(waived.writer).cover(waived.goods);
    check('waived', (await E(waived.holder).waive()) === 'expired');
    check('the goods are free', (await balance(E(waived.writer).payout())) === 10n);
  };

  // An auction of 10 of corn with these bids, each by a bidder of its own with 100 of gold.
  const sale = async (reserve, deadline) => {
    const found = await wealth();
    const { corn, gold, goldIssuer, cornIssuer, purse } = found;
    const terms = harden({ goods: { issuer: cornIssuer, amount: 10n }, currency: goldIssuer, reserve, deadline });
    const tokens = await E(host).setup(auction, terms);
    const seller = await E(host).redeem(tokens.seller, auction, 'seller');
    const bidder = async () => {
      const token = await E(seller).invite();
      return { seat: await E(host).redeem(token, auction, 'bidder'), purse: await purse(gold, 100n) };
    };
    return { ...found, seller, bidder, goods: await purse(corn, 10n) };
  };

  const auctions = async check => {
    const { seller, bidder, goods } = await sale(20n);
    await E(seller).offer(goods);
    const amounts = [40n, 70n, 55n, 70n];
    const bidders = await Promise.all(amounts.map(bidder));
    for (const [index, amount] of amounts.entries()) {
      await E(bidders[index].seat).bid(amount, bidders[index].purse);
    }
    const poor = await bidder();
    check('not below the reserve', (await refusal(E(poor.seat).bid(19n, poor.purse))).includes('least bid'));
    check('not more than one has', (await refusal(E(poor.seat).bid(101n, poor.purse))).startsWith('RangeError'));
    await E(poor.seat).bid(20n, poor.purse);
    check('one bid each', (await refusal(E(poor.seat).bid(30n, poor.purse))).includes('one bid'));
    const silent = await bidder();
    const { sold, price } = await E(seller).close();
    check('sold at the second price', sold && price === 70n);
    const late = await bidder().catch(reason => reason);
    check('too late', (await refusal(E(late.seat).bid(90n, late.purse))).includes('over'));
    check('the seller is paid', (await balance((await E(seller).payout()).money)) === 70n);
    const won = await E(bidders[1].seat).payout();
    check('the first of equal bids wins', (await balance(won.goods)) === 10n && (await balance(won.money)) === 0n);
    for (const [index, amount] of [[0, 40n], [2, 55n], [3, 70n]]) {
      const lost = await E(bidders[index].seat).payout();
      check(`bidder ${index} has lost`, lost.goods === undefined && (await balance(lost.money)) === amount);
    }
    check('who never bid gets nothing', Object.keys(await E(silent.seat).payout()).length === 0);

    const single = await sale(20n);
    await E(single.seller).offer(single.goods);
    const only = await single.bidder();
    await E(only.seat).bid(90n, only.purse);
    check('a single bid pays the reserve', (await E(single.seller).close()).price === 20n);
    const change = await E(only.seat).payout();
    check('and gets change', (await balance(change.money)) === 70n && (await balance(change.goods)) === 10n);

    const unsold = await sale(20n, (await E(clock).now()) + 1000);
    await E(unsold.seller).offer(unsold.goods);
    check('ends at its deadline', (await refusal(E(unsold.seller).close())).includes('deadline'));
    await E(clock).advance(1000);
    check('not sold', !(await E(unsold.seller).outcome()).sold);
    check('the goods come back', (await balance((await E(unsold.seller).payout()).goods)) === 10n);

    const hung = await sale(20n);
    E.sendOnly(hung.seller).offer(never);
    const eager = await hung.bidder();
    await E(eager.seat).bid(50n, eager.purse);
    check('no goods, no sale', !(await E(hung.seller).close()).sold);
    check('no bidder waits for a seller', (await balance((await E(eager.seat).payout()).money)) === 50n);
  };

  const registries = async check => {
    const [rose, thorn] = [Far('rose', { name: () => 'rose' }), Far('thorn', { name: () => 'thorn' })];
    const [reader, registrar] = await Promise.all([E(names).reader(), E(names).makeRegistrar(2n)]);
    const owner = await E(registrar).register('flower', rose);
    check('looked up', (await E(reader).lookup('flower')) === rose);
    check('taken', (await refusal(E(registrar).register('flower', thorn))).includes('taken'));
    check('readers read', (await refusal(E(reader).register('weed', thorn))).startsWith('TypeError'));
    check('registrars do not evict', (await refusal(E(registrar).evict('flower'))).startsWith('TypeError'));
    await E(owner).update(thorn);
    check('updated', (await E(E(reader).lookup('flower')).name()) === 'thorn');
    const heir = await E(owner).transfer();
    check('the old owner is void', (await refusal(E(owner).update(rose))).includes('not yours'));
    check('for all', (await refusal(E(owner).transfer())).includes('not yours') && (await refusal(E(owner).release())).includes('not yours'));
    await E(heir).update(rose);
    check('the new one is not', (await E(reader).lookup('flower')) === rose);
    await E(registrar).register('weed', thorn);
    check('a quota is one', (await refusal(E(registrar).register('tree', thorn))).includes('no more names'));
    check('all names', (await E(reader).names()).join() === 'flower,weed');
    await E(heir).release();
    check('released', (await refusal(E(reader).lookup('flower'))).includes('nothing is registered'));
    const next = await E(registrar).register('flower', thorn);
    check('and taken by another', (await refusal(E(heir).update(rose))).includes('not yours') && (await E(next).getName()) === 'flower');
    await E(names).evict('flower');
    check('evicted', (await refusal(E(next).update(rose))).includes('not yours'));
    for (const name of ['', 7, undefined, null, 'x'.repeat(101), {}]) {
      check(`no name: ${typeof name}`, (await refusal(E(registrar).register(name, rose))).startsWith('TypeError'));
    }
    check('no property', (await refusal(E(reader).lookup('constructor'))).includes('nothing is registered'));
    check('no data', (await refusal(E(registrar).register('data', harden({ big: 'x' })))).startsWith('TypeError'));
  };

  const chats = async check => {
    const listener = () => {
      const heard = [];
      const hear = ({ type, name, text }) => heard.push(text === undefined ? `${name} ${type}` : `${name}: ${text}`);
      return { heard, far: Far('listener', { hear: event => { hear(event); }, ping: () => {} }) };
    };
    const [ann, ben] = [listener(), listener()];
    const inAnn = await E(chat).join('Ann', ann.far);
    const inBen = await E(chat).join('Ben', ben.far);
    check('a name is one', (await refusal(E(chat).join('Ann', ben.far))).includes('already'));
    for (const name of ['', 7, 'x'.repeat(41)]) {
      check('a name is text', (await refusal(E(chat).join(name, ben.far))).startsWith('TypeError'));
    }
    await E(inAnn).say('hello');
    await E(inBen).say('hi');
    check('who is there', (await E(chat).members()).join() === 'Ann,Ben');
    // Answers when all has been heard that was said before.
    const heard = async ({ heard: all }, count) => {
      for (let round = 0; all.length < count && round < 50; round += 1) await E(chat).members();
      return all.join('; ');
    };
    check('Ann heard', (await heard(ann, 4)) === 'Ann joined; Ben joined; Ann: hello; Ben: hi');
    check('Ben heard', (await heard(ben, 3)) === 'Ben joined; Ann: hello; Ben: hi');
    await E(inBen).leave();
    check('Ben has left', (await heard(ann, 5)).endsWith('Ben left') && (await E(chat).members()).join() === 'Ann');
    check('and says nothing', (await refusal(E(inBen).say('still here'))).includes('not there'));

    // One whose listener refuses, and one who never answers a question.
    const dead = Far('listener', { hear: () => { throw Error('gone'); }, ping: () => {} });
    const deaf = Far('listener', { hear: () => {}, ping: () => new Promise(() => {}) });
    await E(chat).join('Dead', dead);
    check('who refuses is gone', (await heard(ann, 7)).endsWith('Dead joined; Dead left'));
    await E(chat).join('Deaf', deaf);
    await heard(ann, 8);
    for (const _ of [1, 2]) {
      await E(clock).advance(10_000);
      await E(chat).members();
    }
    check('who does not answer is gone', (await heard(ann, 9)).endsWith('Deaf joined; Deaf left'));
    check('who answers stays', (await E(chat).members()).join() === 'Ann');
    await E(inAnn).leave();
    check('the room is empty', (await E(chat).members()).length === 0);
  };

  // Many messages: apart from the rest, for those who run it between processes.
  const floods = async check => {
    const inAnn = await E(chat).join('Ann', Far('listener', { hear: () => {}, ping: () => {} }));
    const mute = Far('listener', { hear: () => new Promise(() => {}), ping: () => {} });
    for (const name of ['m1', 'm2', 'm3']) await E(chat).join(name, mute);
    for (let count = 0; count < 400; count += 1) await E(inAnn).say('anybody?');
    check('who answers nothing is there for a while', (await E(chat).members()).length > 1);
    for (let count = 0; count < 110; count += 1) await E(inAnn).say('anybody?');
    check('who answers nothing is gone', (await E(chat).members()).join() === 'Ann');
    await E(inAnn).leave();
  };

  const all = { mints, hosts, escrows, options, auctions, registries, chats, floods };
  return Far('checks', {
    async run(only = Object.keys(all)) {
      const wrong = [];
      for (const name of only) {
        let count = 0;
        const check = (what, holds) => {
          count += 1;
          if (!holds) wrong.push(`${name}: ${what}`);
        };
        try {
          await all[name](check);
        } catch (error) {
          wrong.push(`${name}, after ${count} checks: ${error.name}: ${error.message}`);
        }
      }
      return harden(wrong);
    },
  });
}
