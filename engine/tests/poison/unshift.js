const all = []; for (let i = 0; i < 1 << 17; i += 1) all.unshift(i); all.length
