'x'.repeat(1 << 20).split(/(?:)/u).length
