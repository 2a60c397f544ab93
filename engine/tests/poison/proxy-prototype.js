var p = new Proxy({}, {}); try { var o = Object.create(p); Object.setPrototypeOf(p, o); o.x } catch (e) { 'caught ' + e.message }
