try { var r = Far('x', { m() { return E(r).m() } }); E(r).m(); 'sent' } catch (e) { 'caught ' + e.message }
