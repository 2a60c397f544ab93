var o = { get x() { return this.x } }; try { o.x } catch (e) { 'caught ' + e.message }
