try { var s = new Set(); for (var i = 0; ; i++) s.add('k' + i) } catch (e) { 'caught ' + e.message }
