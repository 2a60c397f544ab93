try { (0, eval)(Array.from({ length: 8000 }, (_, i) => 'l' + i + ':').join('') + ';') } catch (e) { 'caught ' + e.message }
