export default (class X { })
