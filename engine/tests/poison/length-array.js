try { var a = []; a.length = 2 ** 32 - 1; a.fill(0); a.length } catch (e) { 'caught ' + e.message }
