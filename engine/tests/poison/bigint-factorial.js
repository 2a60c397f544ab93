var n = 1n; for (var i = 1n; ; i++) n *= i
