let o = {}; for (let i = 0; i < 50000; i += 1) o = Object.setPrototypeOf({}, o); o instanceof Map
