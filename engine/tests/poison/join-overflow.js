new Array(2 ** 20).join('x'.repeat(1 << 20)).length
