// work 20 x 50
// Buffers of all kinds, and large numbers.
export default function () {
  return {
    work(count) {
      let sum = 0;
      for (let i = 0; i < count; i += 1) {
        const bytes = new Uint8Array(100_000);
        const growing = new ArrayBuffer(10, { maxByteLength: 100_000 });
        growing.resize(50_000);
        sum += bytes.slice(0, 10).length + new DataView(bytes.buffer.transfer(50_000)).byteLength + growing.slice(0).byteLength;
        sum += Number((3n ** 20_000n) % 7n) + 'x'.repeat(100_000).padEnd(150_000, 'ab').length;
      }
      return sum;
    },
  };
}
