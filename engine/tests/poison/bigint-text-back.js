BigInt('9'.repeat(400000)).toString().length
