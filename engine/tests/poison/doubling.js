try { var s = 'x'; for (;;) s += s } catch (e) { 'caught ' + e.message }
