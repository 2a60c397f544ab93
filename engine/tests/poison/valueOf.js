var o = { valueOf() { return o + 1 } }; try { o + 1 } catch (e) { 'caught ' + e.message }
