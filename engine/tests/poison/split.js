try { 'x'.repeat(2 ** 22).split('').length } catch (e) { 'caught ' + e.message }
