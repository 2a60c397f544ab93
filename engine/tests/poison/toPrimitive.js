var o = { [Symbol.toPrimitive]() { return `${o}` } }; try { o + '' } catch (e) { 'caught ' + e.message }
