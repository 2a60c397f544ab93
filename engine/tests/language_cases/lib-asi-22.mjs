export { default as q, a } from "./lib-asi-20b.mjs" 
