'x'.repeat(2 ** 24)
