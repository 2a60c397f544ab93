try { (0, eval)('!'.repeat(100000) + '1') } catch (e) { 'caught ' + e.message }
