/(?<=(?:a|aa)+)b/.test('a'.repeat(5000) + 'c') || /(?:(?:a*)*)*b/.test('a'.repeat(40))
