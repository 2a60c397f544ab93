// Numbers, sizes and times as people read them.

const count = new Intl.NumberFormat('en');
export const number = (value: number) => count.format(value);

export function bytes(value: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value.toFixed(unit === 0 || value >= 100 ? 0 : 1)} ${units[unit]}`;
}

/** A large number in few digits: 1,234,567 is 1.23 M. */
export function short(value: number): string {
  if (value < 10_000) return number(value);
  const units = ['', ' k', ' M', ' G', ' T'];
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value.toPrecision(3)}${units[unit]}`;
}

export function ago(atMs: number, nowMs: number): string {
  const seconds = Math.max(0, Math.round((nowMs - atMs) / 1000));
  if (seconds < 5) return 'now';
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

export function moment(atMs: number): string {
  return new Date(atMs).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
}

export const list = (words: string[]) => (words.length ? words.join(', ') : 'nobody');

export const plural = (n: number, one: string, more = `${one}s`) => `${number(n)} ${n === 1 ? one : more}`;
