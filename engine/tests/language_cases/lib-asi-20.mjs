import d, { a } from "./lib-asi-20b.mjs"
export { d as default, a }