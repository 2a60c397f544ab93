function* g(n) { yield n; yield* g(n + 1); } var t = 0; try { for (const x of g(0)) t += x } catch (e) { 'caught ' + e.message }
