export const c = 3
import "./lib-asi-1.mjs"