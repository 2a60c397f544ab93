(() => 1).apply(null, { length: 2 ** 32 })
