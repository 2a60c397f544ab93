const async = 5
export default async
function f() { return 1 }
export { f }