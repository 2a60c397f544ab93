try { var s = 'aa'; for (;;) s = s.replace(/a/g, '$&$&') } catch (e) { 'caught ' + e.message }
