// One message's way from vat to vat.
import { useState } from 'preact/hooks';
import type { HopView } from './model';
import { Ago, Failure, Id } from './parts';
import { go, usePlace } from './place';
import { useAsked, useStore } from './store';
import { list, number, plural, short } from './words';

interface Hop {
  from: string;
  to: string;
  message: number;
}

/** The first hop is in three parameters, further ones in `then`: `TO:MESSAGE`, one after another. */
function hops(params: URLSearchParams): Hop[] {
  const [from, to, message] = [params.get('from') ?? '', params.get('to') ?? '', Number(params.get('message'))];
  if (!from || !to || !Number.isSafeInteger(message) || message < 1) return [];
  const found: Hop[] = [{ from, to, message }];
  for (const text of params.getAll('then').slice(0, 16)) {
    const [next, number] = text.split(':');
    const last = found[found.length - 1];
    if (next && last && Number(number) >= 1) found.push({ from: last.to, to: next, message: Number(number) });
  }
  return found;
}

function link(path: Hop[]): string {
  const [first, ...rest] = path;
  if (!first) return '/follow';
  const params = new URLSearchParams({ from: first.from, to: first.to, message: String(first.message) });
  rest.forEach((hop) => params.append('then', `${hop.to}:${hop.message}`));
  return `/follow?${params}`;
}

function Step({ hop, path }: { hop: Hop; path: Hop[] }) {
  const { vats } = useStore();
  const [from, to] = [vats.get(hop.from), vats.get(hop.to)];
  const version = `${from?.block} ${from?.certified_block} ${to?.block}`;
  const { value, problem } = useAsked<HopView>(`/hop?${new URLSearchParams({ from: hop.from, to: hop.to, message: String(hop.message) })}`, version);
  const name = (id: string) => vats.get(id)?.name ?? id.slice(0, 8);
  const link_ = (id: string) => (vats.has(id) ? <a href={`/vats/${id}?tab=blocks`}>{name(id)}</a> : <Id id={id} />);
  const member = (key: string) => from?.members.find((member) => member.key === key)?.name ?? key.slice(0, 8);
  const [said, taken] = [value?.said, value?.taken];
  return (
    <li class="hop">
      <h2>
        Message {number(hop.message)} from {link_(hop.from)} to {link_(hop.to)}
      </h2>
      <Failure problem={problem} />
      {value && (
        <ol class="steps">
          <li class={said ? 'done' : ''}>
            <b>Said</b>{' '}
            {said ? (
              <>
                in block {number(said.block)}
                {said.or_before && ' or before'}, <Ago at={said.at_ms} inWords />
              </>
            ) : vats.has(hop.from) ? (
              'not yet, or longer ago than its hosts remember'
            ) : (
              'by a vat or client that no host here carries'
            )}
          </li>
          {said && (
            <li class={said.signers.length ? 'done' : ''}>
              <b>Certified</b> {said.signers.length ? `by ${list(said.signers.map(member))}` : 'not yet, or a checkpoint covers the block by now'}
              {said.threshold > 0 && ` (${said.threshold} of ${from?.members.length} must sign)`}
            </li>
          )}
          <li class={taken ? 'done' : ''}>
            <b>Taken in</b>{' '}
            {taken ? (
              <>
                in block {number(taken.block)}
                {taken.or_before && ' or before'}, <Ago at={taken.at_ms} inWords />
                {taken.work &&
                  `: ${plural(taken.work.deliveries, 'delivery', 'deliveries')} and ${short(taken.work.fuel)} fuel on the account of ${name(hop.from)}, ${taken.work.execution_ms.toFixed(1)} ms`}
                {taken.work?.rolled_back.length ? `; undone for limits: ${taken.work.rolled_back.join(', ')}` : ''}
              </>
            ) : vats.has(hop.to) ? (
              'not yet, or longer ago than its hosts remember'
            ) : (
              'not known: no host here carries the vat'
            )}
          </li>
          <li class={value.acknowledged ? 'done' : ''}>
            <b>Acknowledged</b> {value.acknowledged === null ? 'not known here' : value.acknowledged ? `${name(hop.from)} knows that it arrived` : 'not yet'}
          </li>
          {taken && taken.sayings.length > 0 && (
            <li class="done">
              <b>Then said</b> in the same block, because of it or of what came with it:{' '}
              {taken.sayings.map((saying) => (
                <span class="pair" key={saying.to}>
                  <a href={link([...path, { from: hop.to, to: saying.to, message: saying.last }])}>
                    {saying.first !== null && saying.first < saying.last ? `messages ${number(saying.first)} to ${number(saying.last)}` : `message ${number(saying.last)}`} to {name(saying.to)}
                  </a>
                </span>
              ))}
            </li>
          )}
        </ol>
      )}
    </li>
  );
}

export function Follow() {
  const { vats } = useStore();
  const place = usePlace();
  const path = hops(place.params);
  const [form, set] = useState({ from: path[0]?.from ?? '', to: path[0]?.to ?? '', message: String(path[0]?.message ?? 1) });
  const sorted = [...vats.values()].sort((one, other) => one.name.localeCompare(other.name));
  const from = vats.get(form.from);
  const submit = (event: Event) => {
    event.preventDefault();
    go(link([{ from: form.from, to: form.to, message: Number(form.message) }]));
  };
  return (
    <section aria-labelledby="title">
      <header class="head">
        <h1 id="title">Follow a message</h1>
      </header>
      <form class="row" onSubmit={submit}>
        <label>
          From{' '}
          <select required value={form.from} onChange={(event) => set({ ...form, from: event.currentTarget.value, to: '' })}>
            <option value="">choose a vat</option>
            {sorted.map((vat) => (
              <option key={vat.vat} value={vat.vat}>
                {vat.name}
              </option>
            ))}
          </select>
        </label>
        <label>
          To{' '}
          <select required value={form.to} onChange={(event) => set({ ...form, to: event.currentTarget.value })}>
            <option value="">choose a vat</option>
            {(from?.streams ?? []).map((stream) => (
              <option key={stream.peer} value={stream.peer}>
                {stream.name ?? stream.peer.slice(0, 8)} ({number(stream.sent)} sent)
              </option>
            ))}
          </select>
        </label>
        <label>
          Message <input type="number" min="1" required value={form.message} onInput={(event) => set({ ...form, message: event.currentTarget.value })} />
        </label>
        <button type="submit" class="button main">
          Follow
        </button>
      </form>
      <p class="note">
        Messages of a stream are numbered. A block says more than one thing: what was said in the block that took a message in may be because of another message of it. Hosts
        remember their latest blocks since they started.
      </p>
      <ol class="hops">
        {path.map((hop, at) => (
          <Step key={`${at} ${hop.from} ${hop.to} ${hop.message}`} hop={hop} path={path.slice(0, at + 1)} />
        ))}
      </ol>
    </section>
  );
}
