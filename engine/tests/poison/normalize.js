try { '\u1e9b\u0323'.repeat(2 ** 20).normalize('NFKD').length } catch (e) { 'caught ' + e.message }
