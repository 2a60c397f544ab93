var o = { [Symbol.iterator]() { return [...o][Symbol.iterator]() } }; try { [...o] } catch (e) { 'caught ' + e.message }
