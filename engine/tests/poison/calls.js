var f = () => f; try { (0, eval)('f' + '()'.repeat(50000)) === f } catch (e) { 'caught ' + e.message }
