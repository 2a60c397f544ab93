try { var all = []; for (;;) all.push(new Uint8Array(2 ** 20)) } catch (e) { 'caught ' + e.message }
