var n = 0; try { Array.from({ length: 100000 }, (_, i) => i).sort(() => { n++; return n % 3 - 1 }); 'sorted ' + n } catch (e) { 'caught ' + e.message }
