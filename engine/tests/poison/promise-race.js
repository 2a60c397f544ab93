const never = new Promise(() => {}); (async () => { for (;;) await Promise.race([never, null]); })()
