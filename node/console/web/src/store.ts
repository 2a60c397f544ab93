// What is known of hosts and vats, kept up to date by server-sent events; and what is asked for once.
import { useEffect, useReducer, useRef, useState } from 'preact/hooks';
import type { AdminView, HostView, Update, VatView } from './model';

/** What shows that this page is the owner's: it came behind # in the address, and stays in this tab alone. */
const TOKEN = 'token';

function takeToken(): boolean {
  const token = new URLSearchParams(location.hash.slice(1)).get(TOKEN);
  if (!token) return false;
  sessionStorage.setItem(TOKEN, token);
  history.replaceState(null, '', location.pathname + location.search);
  return true;
}

export interface State {
  /** Whether the owner's token is there and right; nothing while that is not known. */
  admin: AdminView | null;
  /** Whether the server's answers come. */
  link: 'loading' | 'live' | 'lost';
  problem: string | null;
  hosts: Map<string, HostView>;
  vats: Map<string, VatView>;
}

export const state: State = { admin: null, link: 'loading', problem: null, hosts: new Map(), vats: new Map() };
const followers = new Set<() => void>();
let isPlanned = false;

function changed() {
  if (isPlanned) return;
  isPlanned = true;
  // Many updates between two frames are one.
  requestAnimationFrame(() => {
    isPlanned = false;
    followers.forEach((follower) => follower());
  });
}

function merge<T>(into: Map<string, T>, parts: Record<string, T | null>, isWhole: boolean) {
  if (isWhole) into.clear();
  for (const [name, part] of Object.entries(parts)) {
    if (part) into.set(name, part);
    else into.delete(name);
  }
}

export function take(update: Update) {
  merge(state.hosts, update.hosts, update.is_whole);
  merge(state.vats, update.vats, update.is_whole);
  state.problem = update.problem;
  state.link = 'live';
  changed();
}

async function askWho() {
  try {
    state.admin = await ask<AdminView>('/admin');
  } catch {
    // It is asked again when the console is there again.
    state.admin = null;
  }
  changed();
}

takeToken();
addEventListener('hashchange', () => takeToken() && void askWho());

export function follow() {
  const events = new EventSource('/api/events');
  // A console that was started anew has another token, or none.
  events.onopen = () => void askWho();
  events.onmessage = (event) => take(JSON.parse(event.data) as Update);
  // The browser connects again by itself, unless it was refused.
  events.onerror = () => {
    if (state.link === 'live' || events.readyState === EventSource.CLOSED) state.link = 'lost';
    if (events.readyState === EventSource.CLOSED) setTimeout(follow, 3000);
    changed();
  };
}

/** Renders the component again whenever something has changed. */
export function useStore(): State {
  const [, again] = useReducer((count: number) => count + 1, 0);
  useEffect(() => {
    const follower = () => again(0);
    followers.add(follower);
    return () => void followers.delete(follower);
  }, []);
  return state;
}

/** Asks for a path, or says something to it. */
export async function ask<T>(path: string, said?: unknown): Promise<T> {
  const headers: Record<string, string> = {};
  const token = sessionStorage.getItem(TOKEN);
  if (token) headers['authorization'] = `Bearer ${token}`;
  if (said !== undefined) headers['content-type'] = 'application/json';
  const answer = await fetch(`/api${path}`, { headers, ...(said === undefined ? {} : { method: 'POST', body: JSON.stringify(said) }) });
  const body: unknown = await answer.json().catch(() => null);
  if (!answer.ok) {
    const message = (body as { message?: string } | null)?.message;
    throw Error(message ?? `the console answered ${answer.status}`);
  }
  return body as T;
}

export interface Asked<T> {
  value: T | null;
  problem: string | null;
}

/** Asks for a path, and again when `version` changes: what was there stays until the new answer comes. */
export function useAsked<T>(path: string, version: unknown): Asked<T> {
  const [asked, set] = useState<Asked<T> & { path: string }>({ value: null, problem: null, path });
  const turn = useRef(0);
  useEffect(() => {
    const mine = ++turn.current;
    ask<T>(path).then(
      (value) => mine === turn.current && set({ value, problem: null, path }),
      (error: Error) => mine === turn.current && set((last) => ({ ...last, problem: error.message, path })),
    );
  }, [path, version]);
  return asked.path === path ? asked : { value: null, problem: null };
}

/** The present time, which moves on every few seconds. */
export function useNow(): number {
  const [now, set] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => set(Date.now()), 2000);
    return () => clearInterval(timer);
  }, []);
  return now;
}
