try { (function f() { new Compartment({ f }).evaluate('f()') })() } catch (e) { 'caught ' + e.message }
