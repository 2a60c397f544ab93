async function f(n) { await null; return f(n + 1) } f(0); 'queued'
