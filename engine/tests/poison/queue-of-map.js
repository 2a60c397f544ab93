const m = new Map(); for (let i = 0; i < 100000; i += 1) m.set(i, i); while (m.size > 0) m.delete(m.keys().next().value); m.size
