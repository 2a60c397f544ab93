try { Array.prototype.indexOf.call({ length: 2 ** 53 - 1 }, 1) } catch (e) { 'caught ' + e.message }
