// Where references are kept. They are secrets: whoever reads the store has them.

/** In memory: gone with the process. */
export function memoryStore() {
  const kept = new Map();
  return {
    async get(key) { return kept.get(key); },
    async put(key, value) { kept.set(key, value); },
    async delete(key) { kept.delete(key); },
  };
}

const asked = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});

/** In IndexedDB: there as long as the browser keeps the origin's data. */
export function indexedDbStore(name = 'quorate') {
  let opened;
  const store = async (mode) => {
    opened ??= (() => {
      const request = indexedDB.open(name, 1);
      request.onupgradeneeded = () => request.result.createObjectStore('kept');
      return asked(request);
    })();
    return (await opened).transaction('kept', mode).objectStore('kept');
  };
  return {
    async get(key) { return asked((await store('readonly')).get(key)); },
    async put(key, value) { await asked((await store('readwrite')).put(value, key)); },
    async delete(key) { await asked((await store('readwrite')).delete(key)); },
  };
}

export function defaultStore() {
  return globalThis.indexedDB ? indexedDbStore() : memoryStore();
}
