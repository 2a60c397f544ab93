try { (0, eval)('(class { static a = '.repeat(3000) + '1' + '})'.repeat(3000)) } catch (e) { 'caught ' + e.message }
