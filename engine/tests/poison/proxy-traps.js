var h = {}, p = new Proxy({}, h); h.get = (t, k) => p[k]; try { p.x } catch (e) { 'caught ' + e.message }
