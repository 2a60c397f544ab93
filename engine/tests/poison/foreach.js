try { (function f() { [1].forEach(f) })() } catch (e) { 'caught ' + e.message }
