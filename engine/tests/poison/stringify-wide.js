var a = 'x'.repeat(1000); for (var i = 0; i < 30; i++) a = [a, a]; try { JSON.stringify(a).length } catch (e) { 'caught ' + e.message }
