// tries: to learn where the machine is
// defence: no locale, and the time zone is UTC
import { trying } from './lib.js';

export const attempt = () => trying({
  zone: () => new Date(2020, 0, 1).getTimezoneOffset() !== 0,
  text: () => /[+-](?!0000)\d{4}/.test(new Date(0).toString()),
  locale: () => (1234.5).toLocaleString() !== '1234.5',
  turkish: () => 'I'.toLocaleLowerCase('tr') !== 'i',
  date: () => new Date(0).toLocaleDateString('de') !== new Date(0).toLocaleDateString('en'),
});
