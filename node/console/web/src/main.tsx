import { render } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { Check } from './check';
import { Evidence } from './evidence';
import { Follow } from './follow';
import { Host, Hosts } from './hosts';
import { Logs } from './logs';
import { useSeen } from './parts';
import { followLinks, go, usePlace } from './place';
import { follow, useStore } from './store';
import { Streams } from './streams';
import { Vat } from './vat';
import { Vats } from './vats';
import { Waiting, waitingOf } from './waiting';
import { number } from './words';

const THEMES = ['system', 'light', 'dark'] as const;
type Theme = (typeof THEMES)[number];

function stored(): Theme {
  const theme = localStorage.getItem('theme');
  return THEMES.find((known) => known === theme) ?? 'system';
}

function show(theme: Theme) {
  if (theme === 'system') delete document.documentElement.dataset['theme'];
  else document.documentElement.dataset['theme'] = theme;
}

function ThemeSwitch() {
  const [theme, set] = useState<Theme>(stored);
  const next = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length] ?? 'system';
  const change = () => {
    localStorage.setItem('theme', next);
    show(next);
    set(next);
  };
  const glyph = { system: '◐', light: '☀', dark: '☾' }[theme];
  return (
    <button type="button" class="theme" onClick={change} aria-label={`Colours: ${theme}; change to ${next}`} title={`Colours: ${theme}`}>
      <span aria-hidden="true">{glyph}</span>
    </button>
  );
}

/** Views that are searched. */
const SEARCHED = ['vats', 'hosts', 'streams', 'waiting', 'evidence', 'logs'];

function Search() {
  const place = usePlace();
  const field = useRef<HTMLInputElement>(null);
  const query = place.params.get('q') ?? '';
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement;
      const isTyping = /^(input|select|textarea)$/i.test(target.tagName);
      if (event.key !== '/' || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      field.current?.focus();
      field.current?.select();
    };
    addEventListener('keydown', press);
    return () => removeEventListener('keydown', press);
  }, []);
  const view = place.path[0] ?? 'vats';
  const isList = place.path.length < 2 && SEARCHED.includes(view);
  const search = (text: string) => go(isList ? place.with({ q: text, page: null }) : `/?q=${encodeURIComponent(text)}`, 'replace');
  return (
    <input
      ref={field}
      type="search"
      value={query}
      placeholder={isList ? `Search ${view}` : 'Search vats'}
      aria-label={isList ? `Search ${view}` : 'Search vats'}
      aria-keyshortcuts="/"
      onInput={(event) => search(event.currentTarget.value)}
      onKeyDown={(event) => {
        if (event.key !== 'Escape') return;
        search('');
        event.currentTarget.blur();
      }}
    />
  );
}

function Bar() {
  const { vats, hosts, link } = useStore();
  const place = usePlace();
  const view = place.path[0] ?? 'vats';
  const all = [...vats.values()];
  const ill = all.filter((vat) => vat.level === 'trouble' || vat.level === 'silent').length;
  const down = [...hosts.values()].filter((host) => host.level === 'silent').length;
  const proofs = all.filter((vat) => vat.equivocations > 0 || vat.disagreements > 0).length;
  const links: [string, string, string, number, boolean][] = [
    ['vats', '/', 'Vats', ill, true],
    ['hosts', '/hosts', 'Hosts', down, true],
    ['streams', '/streams', 'Streams', all.flatMap((vat) => vat.streams).filter((stream) => stream.broken).length, true],
    ['follow', '/follow', 'Follow', 0, false],
    ['waiting', '/waiting', 'Waiting', waitingOf(all).length, false],
    ['evidence', '/evidence', 'Evidence', proofs, true],
    ['logs', '/logs', 'Logs', 0, false],
    ['check', '/check', 'Check', 0, false],
  ];
  const row = useSeen(view);
  const words = { loading: 'connecting', live: 'live', lost: 'not connected' }[link];
  return (
    <header class="top">
      <a class="skip" href="#main">
        Skip to content
      </a>
      <a class="brand" href="/" aria-label="Quorate">
        <svg viewBox="0 0 16 16" width="18" height="18" aria-hidden="true">
          <circle cx="8" cy="8" r="6" fill="none" stroke="currentColor" stroke-width="1.4" />
          <circle cx="8" cy="3.6" r="2.1" fill="currentColor" />
          <circle cx="4.2" cy="10.2" r="2.1" fill="currentColor" />
          <circle cx="11.8" cy="10.2" r="2.1" fill="currentColor" opacity=".45" />
        </svg>
        <span>Quorate</span>
      </a>
      <nav aria-label="Views" ref={row}>
        {links.map(([name, href, word, count, isBad]) => (
          <a key={name} href={href} {...(view === name ? { 'aria-current': 'page' as const } : {})}>
            {word}
            {count > 0 && <span class={`badge ${isBad ? 'bad' : ''}`}>{number(count)}</span>}
          </a>
        ))}
      </nav>
      <Search />
      <span class={`link ${link}`} role="status" title={words}>
        <span aria-hidden="true" class="dot" />
        <span class="word">{words}</span>
      </span>
      <ThemeSwitch />
    </header>
  );
}

function View() {
  const { path } = usePlace();
  const [view = 'vats', name] = path;
  useEffect(() => {
    document.title = `${[name?.slice(0, 16), view[0]?.toUpperCase() + view.slice(1)].filter(Boolean).join(' · ')} – Quorate`;
  }, [view, name]);
  switch (view) {
    case 'vats':
      return name ? <Vat id={name} key={name} /> : <Vats />;
    case 'hosts':
      return name ? <Host name={name} /> : <Hosts />;
    case 'streams':
      return <Streams />;
    case 'follow':
      return <Follow key={location.search} />;
    case 'waiting':
      return <Waiting />;
    case 'evidence':
      return <Evidence />;
    case 'logs':
      return <Logs />;
    case 'check':
      return <Check />;
    default:
      return (
        <section>
          <h1>There is no such view</h1>
          <p>
            <a href="/">All vats</a>
          </p>
        </section>
      );
  }
}

function Notices() {
  const { link, problem } = useStore();
  return (
    <div aria-live="polite">
      {link === 'lost' && (
        <p class="notice">
          The console does not answer: what is shown is old. It may have ended; <code>vat console</code> starts it.
        </p>
      )}
      {link === 'live' && problem && <p class="notice">{problem}</p>}
    </div>
  );
}

function Page() {
  return (
    <>
      <Bar />
      <Notices />
      <main id="main" tabIndex={-1}>
        <View />
      </main>
    </>
  );
}

show(stored());
followLinks();
follow();
const page = document.getElementById('page');
if (page) render(<Page />, page);
