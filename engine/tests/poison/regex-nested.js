try { new RegExp('('.repeat(20000) + 'a' + ')'.repeat(20000)).test('a') } catch (e) { 'caught ' + e.message }
