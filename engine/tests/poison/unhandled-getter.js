const e = Error('x'); Object.defineProperty(e, 'message', { get() { Promise.resolve().then(() => { for (;;); }); return ''; } }); Promise.reject(e); 0
