var o = []; o.push(o); harden(o)
