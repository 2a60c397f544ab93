// Properties are tried with values of one seed, in a vat and in Node.js alike: without one, fast-check asks for the time of day.
import { configureGlobal } from 'fast-check';

configureGlobal({ seed: 1 });
