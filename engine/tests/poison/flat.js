var a = []; for (let i = 0; i < 50000; i++) a = [a]; try { a.flat(Infinity).length } catch (e) { 'caught ' + e.message }
