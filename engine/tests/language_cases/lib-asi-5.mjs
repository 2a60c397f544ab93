import { a } from "./lib-asi-1.mjs"
export default a + 1