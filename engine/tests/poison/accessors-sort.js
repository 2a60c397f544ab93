var a = []; Object.defineProperty(a, 0, { get() { a.sort(); return 1 }, configurable: true }); a.length = 3; try { a.sort() } catch (e) { 'caught ' + e.message }
