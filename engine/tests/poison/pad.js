try { ''.padEnd(2 ** 30, 'abc').length } catch (e) { 'caught ' + e.message }
