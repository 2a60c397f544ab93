try { (0, eval)('var ' + '['.repeat(15000) + 'a' + ']'.repeat(15000) + ' = [];') } catch (e) { 'caught ' + e.message }
