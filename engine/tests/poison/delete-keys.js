const o = {}; for (let i = 0; i < 20000; i += 1) o[`k${i}`] = i; for (const k of Object.keys(o)) delete o[k]; Object.keys(o).length
