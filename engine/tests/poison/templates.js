try { (0, eval)('`${'.repeat(8000) + '1' + '}`'.repeat(8000)) } catch (e) { 'caught ' + e.message }
