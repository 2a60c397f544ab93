async function f(n) { await f(n + 1) } f(0); 'queued'
