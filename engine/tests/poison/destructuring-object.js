try { (0, eval)('(function(' + '{a:'.repeat(8000) + 'b' + '}'.repeat(8000) + '){})({})') } catch (e) { 'caught ' + e.message }
