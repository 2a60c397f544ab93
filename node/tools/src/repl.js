// The vat of a session: evaluates texts in a compartment of its own, and prints what they come to. One function expression: called once,
// with the services and the globals; it returns the root, which the program calls.
(({ services, globals }) => {
  const { vat, testnet, text, settle, advance, restart, now, timer } = services;
  let compartment;

  // What a line declares is a variable of the session: lines are evaluated one by one, and each has a scope of its own.
  const $publish = (name, read) => {
    try {
      compartment.globalThis[name] = read();
    } catch {
      // It is no variable, or one that must not change.
    }
  };
  let publish = () => {};
  let begun = false;
  const $later = run => {
    publish = run;
    begun = true;
  };
  compartment = new Compartment({
    globals: { ...globals, vat, testnet, text, settle, advance, restart, now, timer, $publish, $later },
    __options__: true,
  });

  const parses = code => {
    try {
      compartment.evaluate(`(${code})`);
      return true;
    } catch {
      return false;
    }
  };

  const complete = (text, names, awaits) => {
    const reads = names.map(name => `$publish(${JSON.stringify(name)}, () => ${name})`);
    if (awaits) {
      return parses(`async function () { return (${text}\n); }`)
        ? `(async () => (${text}\n))()`
        : `(async () => {\n${text}\n; ${reads.join('; ')}; })()`;
    }
    if (text.startsWith('{') && parses(`function () { return (${text}\n); }`)) return `(${text}\n)`;
    // The value is that of the text itself, which is evaluated last.
    return `$later(() => { ${reads.join('; ')}; });\n${text}`;
  };

  // Why a text does not parse. It begins on the second line of what is evaluated.
  const placed = ({ message }) =>
    SyntaxError(message.replace(/ at line (\d+), col /, (place, line) => (line > 1 ? ` at line ${line - 1}, col ` : place)));

  const isPromise = value => Object(value) === value && Object.prototype.toString.call(value) === '[object Promise]';
  // The console writes values as they are, and runs nothing of theirs; a text stands there without quotes.
  const print = (mark, value) => console.debug(mark, typeof value === 'string' ? JSON.stringify(value) : value);

  return Far('session', {
    // Gives 'value' or 'threw'; of a promise, 'fulfilled' or 'rejected', when it has settled.
    async evaluate(mark, text, names, awaits) {
      let value;
      publish = () => {};
      begun = false;
      try {
        value = compartment.evaluate(complete(text, names, awaits));
      } catch (reason) {
        print(`${mark}/threw`, !begun && reason instanceof SyntaxError ? placed(reason) : reason);
        return 'threw';
      } finally {
        publish();
      }
      if (!isPromise(value)) {
        if (value !== undefined) print(`${mark}/value`, value);
        return 'value';
      }
      const { status, value: settled, reason } = (await Promise.allSettled([value]))[0];
      if (status === 'rejected') print(`${mark}/rejected`, reason);
      else if (settled !== undefined) print(`${mark}/value`, settled);
      return status;
    },
    async start(path, argv) {
      compartment.globalThis.root = await vat(path, argv, { endowments: ['timer', 'publisher'] });
    },
    next: () => services.next(),
    done: (id, failure, value) => services.done(id, failure, value),
    argvOf: (id, names) => services.argvOf(id, names),
  });
})
