try { var m = new Map(); for (var i = 0; ; i++) m.set(i, m) } catch (e) { 'caught ' + e.message }
