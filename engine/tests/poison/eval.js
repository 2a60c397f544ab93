try { (function f() { (0, eval)('(' + f + ')()') })() } catch (e) { 'caught ' + e.message }
