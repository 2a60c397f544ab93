let ready = 'nothing';
for (let i = 0; i < 20; i += 1) await null;
ready = 'part';
export { ready as part };
