var a = {}; a.a = a; try { (0, eval)('a' + '.a'.repeat(100000)) } catch (e) { 'caught ' + e.message }
