var a = [1]; try { for (;;) a = a.concat(a, a) } catch (e) { 'caught ' + e.message }
