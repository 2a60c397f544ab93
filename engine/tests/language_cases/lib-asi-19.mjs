import * as all from "./lib-asi-17.mjs"
export { all }