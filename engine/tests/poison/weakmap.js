try { var m = new WeakMap(), k = {}; for (;;) { var n = {}; m.set(n, k); k = n } } catch (e) { 'caught ' + e.message }
