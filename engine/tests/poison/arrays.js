try { (0, eval)('['.repeat(20000) + ']'.repeat(20000)) } catch (e) { 'caught ' + e.message }
