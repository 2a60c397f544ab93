var t = { then(r) { r({ then: t.then }) } }; Promise.resolve(t); 'queued'
