// What vats print and hosts log, for the owner.
import type { LineView, LogsView } from './model';
import { Failure, Owner } from './parts';
import { go, usePlace } from './place';
import { useAsked, useNow, useStore } from './store';
import { number, plural } from './words';

const LEVELS = ['debug', 'info', 'warn', 'error'];

function Lines({ of }: { of: string }) {
  const { vats } = useStore();
  const place = usePlace();
  const [query, level] = [place.params.get('q') ?? '', place.params.get('level') ?? ''];
  const vat = [...vats.values()].find((vat) => vat.name === of);
  const now = useNow();
  // A vat prints when it executes blocks; a host whenever it likes.
  const version = vat ? vat.block : now;
  const asked = useAsked<LogsView>(`/logs?of=${encodeURIComponent(of)}&q=${encodeURIComponent(query)}${level ? `&level=${level}` : ''}`, version);
  const { value, problem } = asked;
  const lines: LineView[] = [...(value?.lines ?? [])].reverse();
  return (
    <>
      <Failure problem={problem} />
      {value && (
        <p class="note" role="status">
          {value.found === value.searched ? plural(value.found, 'line') : `${number(value.found)} of ${plural(value.searched, 'line')}`}
          {value.found > lines.length && `, of which these are the newest ${number(lines.length)}`}; the newest first.
        </p>
      )}
      {lines.length > 0 ? (
        <div class="scroll lines" tabIndex={0} role="region" aria-label={`What ${of} has printed`}>
          <table>
            <caption class="unseen">What {of} has printed, the newest first</caption>
            <tbody>
              {lines.map((line, at) => (
                <tr key={at} class={line.level ?? ''}>
                  {line.block !== null && (
                    <td class="number" title="Block">
                      {number(line.block)}
                    </td>
                  )}
                  {line.level !== null && <td>{line.level}</td>}
                  <td class="text">{line.text}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      ) : (
        value && <p class="none">{value.searched ? 'No line is as the filters say.' : `${of} has printed nothing yet.`}</p>
      )}
    </>
  );
}

export function Logs() {
  const { vats, hosts, admin, link } = useStore();
  const place = usePlace();
  const names = { vats: [...vats.values()].map((vat) => vat.name).sort(), hosts: [...hosts.keys()].sort() };
  const of = place.params.get('of') ?? names.vats[0] ?? names.hosts[0] ?? '';
  const level = place.params.get('level') ?? '';
  return (
    <section aria-labelledby="title">
      <header class="head">
        <h1 id="title">Logs</h1>
        <label class="choice">
          of{' '}
          <select value={of} onChange={(event) => go(place.with({ of: event.currentTarget.value }), 'replace')}>
            {(['vats', 'hosts'] as const).map((kind) => (
              <optgroup key={kind} label={kind === 'vats' ? 'Vats' : 'Hosts'}>
                {names[kind].map((name) => (
                  <option key={name} value={name}>
                    {name}
                  </option>
                ))}
              </optgroup>
            ))}
          </select>
        </label>
        <label class="choice">
          from{' '}
          <select value={level} onChange={(event) => go(place.with({ level: event.currentTarget.value }), 'replace')}>
            <option value="">all levels</option>
            {LEVELS.slice(1).map((name) => (
              <option key={name} value={name}>
                {name}
              </option>
            ))}
          </select>
        </label>
      </header>
      <Owner admin={admin} what="What vats print and hosts log">
        {of ? <Lines of={of} key={of} /> : <p class="none">{link === 'loading' ? 'Asking the hosts…' : 'There is no vat or host.'}</p>}
      </Owner>
    </section>
  );
}
