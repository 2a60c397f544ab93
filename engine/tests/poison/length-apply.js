try { Math.max.apply(null, { length: 2 ** 31 }) } catch (e) { 'caught ' + e.message }
