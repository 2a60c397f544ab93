// A SwingSet vat in TypeScript, for the compiler to check.
import { Far } from '@endo/far';
import { provide } from '@agoric/vat-data';

export const buildRootObject = (vatPowers: VatPowers, vatParameters: { limit: number }, baggage: VatBaggage) => {
  const count = provide(baggage, 'count', () => 0);
  vatPowers.testLog('begun', count, vatParameters.limit);
  return Far('root', {
    leave: () => vatPowers.exitVat?.('done'),
    fail: (reason: unknown) => vatPowers.exitVatWithFailure?.(reason),
    now: () => vatPowers.timer?.now(),
  });
};
