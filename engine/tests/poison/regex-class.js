try { new RegExp('[' + '\\u{10000}-\\u{10ffff}'.repeat(20000) + ']', 'u').test('x') } catch (e) { 'caught ' + e.message }
