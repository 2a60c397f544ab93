// Every string that the language has survives passing and the console, or is refused by name.
// call echo "","\u0000","\u2028\u2029\ufeff\ufffd\uffff😀" => ok ["","\u0000","\u2028\u2029\ufeff\ufffd\uffff😀"]
// call codes "😀é" => ok [128512,233]
// call whole => ok ["","\u0000","\u2028\u2029","\ufeff","\ufffd","\uffff","😀","é","e\u0301","\u007f\u0080","\r\n\t","__proto__","\udbff\udfff"]
// call key => ok {"":1,"\u0000":2,"__proto__x":3,"__proto__":4,"😀":5}
// call lone 0 => no a string with a lone surrogate cannot be passed: \uD800
// call lone 2 => no a string with a lone surrogate
// call lone 4 => no a string with a lone surrogate
// call loneKey => no a key with a lone surrogate
// call loneError => no the message of an error with a lone surrogate
// call loneName => no the name of an error with a lone surrogate
// call loneSymbol => no a symbol's key with a lone surrogate
// call loneMethod => no a method name with a lone surrogate
// call loneInterface => ok "TypeError: Far: the interface name has a lone surrogate: I\\uD800"
import { E, Far } from '@endo/far';
export default function (argv) {
  const lone = ['\ud800', 'a\udfffb', '😀'[0], '😀'.slice(1), '\udc00\ud800'];
  for (const s of lone) console.log('shown:', s, [s], { [s]: s }, Error(s), Symbol(s));
  const attempt = f => { try { return f(); } catch (error) { return `${error.name}: ${error.message}`; } };
  return Far('root', {
    echo(...all) { return all; },
    codes(s) { return [...s].map(c => c.codePointAt(0)); },
    whole() { return ['', '\0', '\u2028\u2029', '\ufeff', '\ufffd', '\uffff', '😀', 'é', 'e\u0301', '\x7f\x80', '\r\n\t', '__proto__', '\u{10ffff}']; },
    key() { return { '': 1, '\0': 2, __proto__x: 3, ['__proto__']: 4, '😀': 5 }; },
    lone(i) { return lone[i]; },
    loneKey() { return { ['k\ud800']: 1 }; },
    loneError() { throw Error('bad \ud800 text'); },
    loneName() { return Object.assign(Error('x'), { name: 'N\udc00' }); },
    loneSymbol() { return Symbol.for('s\ud800'); },
    loneMethod() { return E(argv.target)['m\ud800'](); },
    loneInterface() { return attempt(() => Far('I\ud800', {})); },
  });
}
