// Small parts that all views use.
import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import type { AdminView, Level, MemberView, VatView } from './model';
import { go, usePlace } from './place';
import { useNow } from './store';
import { ago, list, moment, number } from './words';

const GLYPHS: Record<Level, string> = { well: '●', attention: '◆', trouble: '▲', silent: '■' };
export const LEVELS: Level[] = ['silent', 'trouble', 'attention', 'well'];

/** How something is: by shape, colour and word. */
export function Mark({ level, word }: { level: Level; word?: string }) {
  return (
    <span class={`mark ${level}`}>
      <span aria-hidden="true">{GLYPHS[level]}</span> {word ?? level}
    </span>
  );
}

/** Two sheets, or a tick. */
function CopyIcon({ isDone }: { isDone: boolean }) {
  return (
    <svg viewBox="0 0 16 16" width="13" height="13" fill="none" stroke="currentColor" stroke-width="1.5" aria-hidden="true">
      {isDone ? <path d="M2.5 8.5l3.5 3.5 7.5-8" /> : <path d="M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3" />}
    </svg>
  );
}

/** An id: short, whole on hover, with a button that copies it. */
export function Id({ id, digits = 8 }: { id: string; digits?: number }) {
  const [isCopied, set] = useState(false);
  const timer = useRef(0);
  useEffect(() => () => clearTimeout(timer.current), []);
  if (!id) return <span class="muted">–</span>;
  const copy = async () => {
    await navigator.clipboard.writeText(id).then(
      () => set(true),
      () => undefined,
    );
    clearTimeout(timer.current);
    timer.current = window.setTimeout(() => set(false), 1500);
  };
  return (
    <span class="id">
      <code title={id}>{id.slice(0, digits)}</code>
      <button type="button" class="copy" onClick={copy} aria-label={`Copy ${id}`} title="Copy">
        <CopyIcon isDone={isCopied} />
      </button>
      <span class="unseen" role="status">
        {isCopied ? 'copied' : ''}
      </span>
    </span>
  );
}

/** How long ago a moment was; the moment itself on hover. */
export function Ago({ at, inWords = false }: { at: number; inWords?: boolean }) {
  const now = useNow();
  const shown = ago(at, now);
  return (
    <time dateTime={new Date(at).toISOString()} title={moment(at)}>
      {inWords && shown !== 'now' ? `${shown} ago` : shown}
    </time>
  );
}

function memberWords(member: MemberView): string {
  const signed = member.signed ? 'signed the newest block' : 'is not in the newest certificate';
  return member.state === 'up' ? `${member.name} ${signed}` : `${member.name} is ${member.state}, and ${signed}`;
}

/** Who signed the newest certified block: a square for each member. */
export function Signers({ vat }: { vat: VatView }) {
  const signed = vat.members.filter((member) => member.signed).map((member) => member.name);
  const words = `Block ${vat.certified_block} was signed by ${list(signed)}; ${vat.threshold} of ${vat.members.length} must sign`;
  return (
    <span class="signers" title={[words, ...vat.members.map(memberWords)].join('\n')}>
      <span class="squares" aria-hidden="true">
        {vat.members.slice(0, 9).map((member) => (
          <i key={member.key} class={`square ${member.signed ? 'signed' : ''} ${member.state === 'up' ? '' : 'away'}`} />
        ))}
      </span>
      <span aria-hidden="true" class="of">
        {vat.threshold}/{vat.members.length}
      </span>
      <span class="unseen">{words}</span>
    </span>
  );
}

export function Problems({ problems, level }: { problems: string[]; level: Level }) {
  if (!problems.length) return null;
  return (
    <ul class={`problems ${level}`} aria-label="What to know">
      {problems.map((problem) => (
        <li key={problem}>{problem}</li>
      ))}
    </ul>
  );
}

export function Bar({ value, of, label }: { value: number; of: number; label: string }) {
  const part = of > 0 ? Math.min(1, value / of) : 0;
  return (
    <span class="bar" role="img" aria-label={label} title={label}>
      <span class={part > 0.95 ? 'full' : ''} style={{ width: `${part * 100}%` }} />
    </span>
  );
}

export interface Column<T> {
  name: string;
  title?: string;
  /** What it is sorted by; a column without is not. */
  by?: (row: T) => string | number;
  cell: (row: T) => ComponentChildren;
  isNumber?: boolean;
  /** Left out in narrow windows. */
  isWide?: boolean;
  width?: string;
}

export const PAGE = 50;

/** A table that is sorted and paged by the address bar. */
export function Table<T>({ rows, columns, id, caption, none, sort, isLog = false }: {
  rows: T[];
  columns: Column<T>[];
  id: (row: T) => string;
  caption: string;
  none: ComponentChildren;
  sort: string;
  /** New rows come on top: what is in a place changes, and nothing moves. */
  isLog?: boolean;
}) {
  const place = usePlace();
  const wanted = place.params.get('sort') ?? sort;
  const isDown = wanted.startsWith('-');
  const column = columns.find((column) => column.by && column.name === wanted.replace(/^-/, ''));
  const by = column?.by;
  const sorted = by
    ? [...rows].sort((one, other) => {
        const [a, b] = [by(one), by(other)];
        const order = typeof a === 'number' && typeof b === 'number' ? a - b : String(a).localeCompare(String(b), 'en', { numeric: true });
        return (isDown ? -order : order) || id(one).localeCompare(id(other));
      })
    : rows;
  const pages = Math.max(1, Math.ceil(sorted.length / PAGE));
  const page = Math.min(pages, Math.max(1, Number(place.params.get('page')) || 1));
  const shown = sorted.slice((page - 1) * PAGE, page * PAGE);
  return (
    <>
      <div class="scroll">
        <table class="list">
          <caption class="unseen">{caption}</caption>
          <colgroup>
            {columns.map((column) => (
              <col key={column.name} class={column.isWide ? 'wide' : ''} style={column.width ? { width: column.width } : {}} />
            ))}
          </colgroup>
          <thead>
            <tr>
              {columns.map((column) => {
                const isSorted = column.name === wanted.replace(/^-/, '');
                const order = isSorted ? (isDown ? 'descending' : 'ascending') : undefined;
                const next = isSorted && !isDown ? `-${column.name}` : column.name;
                return (
                  <th
                    key={column.name}
                    scope="col"
                    title={column.title}
                    class={`${column.isNumber ? 'number' : ''} ${column.isWide ? 'wide' : ''}`}
                    {...(order ? { 'aria-sort': order } : {})}
                  >
                    {column.by ? (
                      <a href={place.with({ sort: next, page: null })}>
                        {column.name}
                        <span aria-hidden="true" class="order">
                          {isSorted ? (isDown ? '↓' : '↑') : ''}
                        </span>
                      </a>
                    ) : (
                      column.name
                    )}
                  </th>
                );
              })}
            </tr>
          </thead>
          <tbody>
            {shown.map((row, at) => (
              <tr key={isLog ? at : id(row)}>
                {columns.map((column) => (
                  <td key={column.name} class={`${column.isNumber ? 'number' : ''} ${column.isWide ? 'wide' : ''}`}>
                    {column.cell(row)}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
        {!shown.length && <p class="none">{none}</p>}
      </div>
      {pages > 1 && (
        <nav class="pager" aria-label="Pages">
          <a href={place.with({ page: page > 2 ? page - 1 : null })} aria-disabled={page === 1}>
            ← Previous
          </a>
          <span>
            {number((page - 1) * PAGE + 1)}–{number(Math.min(sorted.length, page * PAGE))} of {number(sorted.length)}
          </span>
          <a href={place.with({ page: Math.min(pages, page + 1) })} aria-disabled={page === pages}>
            Next →
          </a>
        </nav>
      )}
    </>
  );
}

/** Chips that filter by a parameter of the address bar. */
export function Chips({ name, label, choices }: { name: string; label: string; choices: { value: string; word: string; count: number }[] }) {
  const place = usePlace();
  const chosen = place.params.get(name) ?? '';
  return (
    <div class="chips" role="group" aria-label={label}>
      {choices.map(({ value, word, count }) => (
        <button
          key={value}
          type="button"
          aria-pressed={chosen === value}
          onClick={() => go(place.with({ [name]: chosen === value ? null : value, page: null }), 'replace')}
        >
          {word} <span class="count">{number(count)}</span>
        </button>
      ))}
    </div>
  );
}

/** Whether a row has all the words that are searched for. */
export function matches(query: string, ...texts: (string | null)[]): boolean {
  const text = texts.join(' ').toLowerCase();
  return query
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
}

/** In narrow windows a row of links scrolls: the present one is to be seen. */
export function useSeen(chosen: string | undefined) {
  const row = useRef<HTMLElement>(null);
  useEffect(() => {
    const link = row.current?.querySelector<HTMLElement>('[aria-current]');
    if (link && row.current) row.current.scrollLeft = link.offsetLeft - row.current.offsetLeft - 40;
  }, [chosen]);
  return row;
}

export function Tabs({ tabs, label }: { tabs: { tab: string; word: string; count?: number }[]; label: string }) {
  const place = usePlace();
  const chosen = place.params.get('tab') ?? tabs[0]?.tab;
  const row = useSeen(chosen);
  return (
    <nav class="tabs" ref={row} aria-label={label}>
      {tabs.map(({ tab, word, count }) => (
        <a
          key={tab}
          href={`${location.pathname}${tab === tabs[0]?.tab ? '' : `?tab=${tab}`}`}
          {...(chosen === tab ? { 'aria-current': 'page' as const } : {})}
        >
          {word}
          {count !== undefined && <span class="count">{number(count)}</span>}
        </a>
      ))}
    </nav>
  );
}

export function Facts({ facts }: { facts: [string, ComponentChildren][] }) {
  return (
    <dl class="facts">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** A command to type on a terminal. */
export function Command({ text }: { text: string }) {
  const [isCopied, set] = useState(false);
  const copy = () =>
    navigator.clipboard.writeText(text).then(
      () => {
        set(true);
        setTimeout(() => set(false), 1500);
      },
      () => undefined,
    );
  return (
    <span class="command">
      <code>{text}</code>
      <button type="button" class="copy" onClick={copy} aria-label={`Copy the command ${text}`} title="Copy">
        <CopyIcon isDone={isCopied} />
      </button>
    </span>
  );
}

/** What only the owner sees; to others, how to see it. */
export function Owner({ admin, what, children }: { admin: AdminView | null; what: string; children: ComponentChildren }) {
  if (admin?.accepted) return <>{children}</>;
  if (!admin) return <p class="none">Asking…</p>;
  return (
    <div class="owner">
      <p>
        {what} {admin.offered ? 'is for whoever opens the address with the token that the console has printed.' : 'is shown to the owner of the hosts alone: everybody on this machine can open this page.'}
      </p>
      {!admin.offered && (
        <p>
          Start <Command text="vat console --admin" /> and open the address that it prints.
        </p>
      )}
    </div>
  );
}

export function Failure({ problem }: { problem: string | null }) {
  return problem ? (
    <p class="failure" role="alert">
      {problem}
    </p>
  ) : null;
}
