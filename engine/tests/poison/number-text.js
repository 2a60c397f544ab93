var n = 0; for (;;) n += (1e300).toFixed(100).length + (0.1).toString(36).length
