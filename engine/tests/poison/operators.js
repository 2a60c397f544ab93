try { (0, eval)('1' + '+1'.repeat(200000)) } catch (e) { 'caught ' + e.message }
