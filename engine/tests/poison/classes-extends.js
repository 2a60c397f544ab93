try { (0, eval)('(class extends '.repeat(5000) + 'Object' + '{})'.repeat(5000)) } catch (e) { 'caught ' + e.message }
