// Where the page is: its path, and the filters in the address bar.
import { useEffect, useReducer } from 'preact/hooks';

const followers = new Set<() => void>();

function moved() {
  followers.forEach((follower) => follower());
}

addEventListener('popstate', moved);

export function go(to: string, how: 'push' | 'replace' = 'push') {
  if (to === location.pathname + location.search) return;
  if (how === 'push') history.pushState(null, '', to);
  else history.replaceState(null, '', to);
  moved();
}

export interface Place {
  path: string[];
  params: URLSearchParams;
  /** The same place with other parameters; empty ones are left out. */
  with(changes: Record<string, string | number | null>): string;
}

export function here(): Place {
  const params = new URLSearchParams(location.search);
  return {
    path: location.pathname.split('/').filter(Boolean).map(decodeURIComponent),
    params,
    with(changes) {
      const next = new URLSearchParams(params);
      for (const [name, value] of Object.entries(changes)) {
        if (value === null || value === '') next.delete(name);
        else next.set(name, String(value));
      }
      const query = next.toString();
      return location.pathname + (query ? `?${query}` : '');
    },
  };
}

export function usePlace(): Place {
  const [, again] = useReducer((count: number) => count + 1, 0);
  useEffect(() => {
    const follower = () => again(0);
    followers.add(follower);
    return () => void followers.delete(follower);
  }, []);
  return here();
}

/** Follows links of the page without loading it anew. */
export function followLinks() {
  addEventListener('click', (event) => {
    const link = (event.target as Element | null)?.closest?.('a');
    if (!link || event.defaultPrevented || event.button !== 0) return;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    if (link.origin !== location.origin || link.hasAttribute('download') || link.pathname.startsWith('/api/')) return;
    // A link within the page is the browser's.
    if (link.getAttribute('href')?.startsWith('#')) return;
    event.preventDefault();
    const isOther = link.pathname !== location.pathname;
    go(link.pathname + link.search);
    if (isOther) scrollTo(0, 0);
  });
}
