let o = 1; for (let i = 0; i < 3000; i += 1) o = [o]; JSON.stringify(o, null, 10).length
