try { 1n << (2n ** 40n) } catch (e) { 'caught ' + e.message }
