(function f() { Promise.resolve().then(f) })(); 'queued'
