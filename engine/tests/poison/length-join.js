try { new Array(2 ** 32 - 1).join('abc').length } catch (e) { 'caught ' + e.message }
