try { new RegExp('(a{1,1000}){1,1000}{1,1000}'.replace('}{1,1000}', '})')).test('a'.repeat(5000)) } catch (e) { 'caught ' + e.message }
