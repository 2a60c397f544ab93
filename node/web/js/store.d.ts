/** Where references are kept. They are secrets. */
export interface Store {
  get(key: string): Promise<string | undefined>;
  put(key: string, value: string): Promise<void>;
  delete(key: string): Promise<void>;
}

/** In memory: gone with the process. */
export function memoryStore(): Store;
/** In IndexedDB, under this name. */
export function indexedDbStore(name?: string): Store;
export function defaultStore(): Store;
