let d = 2, e = 3
export {
  d,
  e as "string name",
}
// end