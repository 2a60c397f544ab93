(function f() { Promise.resolve().then(f); Promise.resolve().then(f) })(); 'queued'
