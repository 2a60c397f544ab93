// Runs lockdown() with the options of this image. Errors carry no stack (nothing outside may depend on how the interpreter
// prints one), the console is the runtime's own, and rejections are reported by the runtime. The interpreter knows no locale, so what asks for
// one gives the same everywhere: only localeCompare, which `ses` would replace by another order.
lockdown({
  errorTaming: 'safe',
  consoleTaming: 'unsafe',
  errorTrapping: 'none',
  unhandledRejectionTrapping: 'none',
  overrideTaming: 'moderate',
  localeTaming: 'unsafe',
  evalTaming: 'safe-eval',
});
