var a = []; a.push(a); try { a.flat(Infinity).length } catch (e) { 'caught ' + e.message }
