var o = {}; for (let i = 0; i < 50000; i++) o = Object.create(o); try { o.x } catch (e) { 'caught ' + e.message }
