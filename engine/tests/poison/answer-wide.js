var o = harden(['x'.repeat(1000)]); for (let i = 0; i < 40; i++) o = harden([o, o]); o
