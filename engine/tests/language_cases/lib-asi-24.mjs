var h = 1, i
export { h, i }
h = 2