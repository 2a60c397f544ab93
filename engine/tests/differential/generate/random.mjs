/** A deterministic source of choices (splitmix32). */
export class Random {
  constructor(seed) {
    this.state = seed >>> 0;
    for (let i = 0; i < 4; i += 1) this.next();
  }

  /** An integer of 32 bits. */
  next() {
    this.state = (this.state + 0x9e3779b9) >>> 0;
    let z = this.state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return (z ^ (z >>> 15)) >>> 0;
  }

  /** 0 to `end - 1`. */
  below(end) {
    return this.next() % end;
  }

  /** `from` to `to`, both included. */
  between(from, to) {
    return from + this.below(to - from + 1);
  }

  /** True in `percent` of 100 cases. */
  chance(percent) {
    return this.below(100) < percent;
  }

  pick(list) {
    return list[this.below(list.length)];
  }

  /** One of `[weight, value]` pairs. */
  weighted(pairs) {
    let at = this.below(pairs.reduce((sum, [weight]) => sum + weight, 0));
    for (const [weight, value] of pairs) {
      if (at < weight) return value;
      at -= weight;
    }
    throw new Error('weights do not add up');
  }

  shuffled(list) {
    const all = [...list];
    for (let i = all.length - 1; i > 0; i -= 1) {
      const j = this.below(i + 1);
      [all[i], all[j]] = [all[j], all[i]];
    }
    return all;
  }

  list(least, most, make) {
    return Array.from({ length: this.between(least, most) }, (_, i) => make(i));
  }
}
