try { (0, eval)('1?'.repeat(20000) + '1' + ':1'.repeat(20000)) } catch (e) { 'caught ' + e.message }
