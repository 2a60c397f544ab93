try { (function f() { new Function('f', 'f()')(f) })() } catch (e) { 'caught ' + e.message }
