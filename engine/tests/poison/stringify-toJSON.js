var o = { toJSON() { return { o } } }; try { JSON.stringify(o) } catch (e) { 'caught ' + e.message }
