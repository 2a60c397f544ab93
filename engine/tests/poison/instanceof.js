var o = { [Symbol.hasInstance](x) { return x instanceof o } }; try { 1 instanceof o } catch (e) { 'caught ' + e.message }
