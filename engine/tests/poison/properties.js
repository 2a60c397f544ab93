try { var o = {}; for (var i = 0; ; i++) o['p' + i] = i } catch (e) { 'caught ' + e.message }
