await null;
export const d = 'd';
