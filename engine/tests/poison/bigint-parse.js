try { BigInt('9'.repeat(300000)) % 7n } catch (e) { 'caught ' + e.message }
