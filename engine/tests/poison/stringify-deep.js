var o = {}; for (var i = 0; i < 50000; i++) o = { o }; try { JSON.stringify(o).length } catch (e) { 'caught ' + e.message }
