function* g() { yield 1 } var all = []; try { for (;;) { var i = g(); i.next(); all.push(i) } } catch (e) { 'caught ' + e.message }
