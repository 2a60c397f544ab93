(async function () { for (;;) await null })(); 'queued'
