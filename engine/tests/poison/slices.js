var s = 'x'.repeat(2 ** 22), n = 0; for (;;) n += (s + n).length
