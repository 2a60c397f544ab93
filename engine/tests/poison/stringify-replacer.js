JSON.stringify({ a: 1 }, new Proxy([], { get: (t, k) => (k === 'length' ? 2 ** 53 - 1 : 'a') }))
