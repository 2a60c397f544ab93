export let limit = 2;
export const grow = () => { limit += 2; };
export let queue = 0;
export const put = n => { queue += n; };
export const take = () => { const q = queue; if (queue > 0) queue -= 1; return q; };
export let Item = class { kind = 'one'; };
const first = Item;
class Second { kind = 'two'; }
export const swap = () => { Item = Item === first ? Second : first; };
