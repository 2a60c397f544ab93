try { (function f() { 'a'.replace(/a/, f) })() } catch (e) { 'caught ' + e.message }
