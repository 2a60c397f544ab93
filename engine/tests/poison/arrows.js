try { (0, eval)('(a=>'.repeat(5000) + '1' + ')'.repeat(5000)) } catch (e) { 'caught ' + e.message }
