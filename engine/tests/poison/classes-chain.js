var C = class {}; for (let i = 0; i < 20000; i++) { const D = C; C = class extends D {} } try { new C() } catch (e) { 'caught ' + e.message }
