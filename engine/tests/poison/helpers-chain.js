let it = [1].values(); for (let i = 0; i < 20000; i += 1) it = it.map(x => x); [...it].length
