export default async x => x
export {}