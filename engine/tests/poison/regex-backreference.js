try { /^(.*)*\1(.+)+\2$/.test('ab'.repeat(500) + 'c') } catch (e) { 'caught ' + e.message }
