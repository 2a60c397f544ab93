try { JSON.parse('[1,2,3]', function f(k, v) { return JSON.parse('[1]', f) }) } catch (e) { 'caught ' + e.message }
