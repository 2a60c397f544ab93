try { (0, eval)('if(1){'.repeat(8000) + '}else{}'.repeat(8000)) } catch (e) { 'caught ' + e.message }
