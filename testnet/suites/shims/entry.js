// The entry of a vat that holds a file of tests.
import './globals.js';
import { titles, run } from 'ava';
import 'the-tests';

export default () => Far('suite', { titles: () => harden(titles()), run: index => run(index) });
