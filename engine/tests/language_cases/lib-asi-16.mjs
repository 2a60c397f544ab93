export default () => 1
;[1].map(x => x)
export let z = 1