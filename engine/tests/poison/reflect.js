try { (function f() { Reflect.apply(f, null, []) })() } catch (e) { 'caught ' + e.message }
