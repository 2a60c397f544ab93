var o = {}; for (let i = 0; i < 50000; i++) o = { o }; try { harden(o); 'hardened' } catch (e) { 'caught ' + e.message }
