try { (0, eval)('2**'.repeat(30000) + '1') } catch (e) { 'caught ' + e.message }
