new RegExp(Array.from({ length: 5000 }, (_, i) => `(?<n${i}>a)`).join("|")).test("a")
