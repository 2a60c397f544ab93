var o = { *[Symbol.iterator]() { for (;;) yield 1 } }; try { [...o].length } catch (e) { 'caught ' + e.message }
