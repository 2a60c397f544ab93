// Hosts.
import type { HostView } from './model';
import { Ago, Bar, Chips, Facts, Id, LEVELS, Mark, Problems, Table, matches, type Column } from './parts';
import { usePlace } from './place';
import { useStore } from './store';
import { bytes, number } from './words';

const connected = (host: HostView) => host.peers.filter((peer) => peer.connected).length;

const COLUMNS: Column<HostView>[] = [
  { name: 'Host', by: (host) => host.name, cell: (host) => <a class="name" href={`/hosts/${encodeURIComponent(host.name)}`}>{host.name}</a>, width: '18%' },
  {
    name: 'State',
    by: (host) => LEVELS.indexOf(host.level),
    cell: (host) => (
      <span title={host.problems.join('\n')}>
        <Mark level={host.level} word={host.state} />
      </span>
    ),
    width: '8rem',
  },
  { name: 'Vats', by: (host) => host.vats.length, cell: (host) => number(host.vats.length), isNumber: true, width: '5rem' },
  {
    name: 'Connected',
    title: 'Other hosts that it is connected with, of those it wants to be',
    by: connected,
    cell: (host) => `${connected(host)} of ${host.peers.length}`,
    isNumber: true,
    width: '7rem',
  },
  { name: 'Up for', by: (host) => -(host.started_at_ms ?? 0), cell: (host) => (host.started_at_ms ? <Ago at={host.started_at_ms} /> : <span class="muted">–</span>), isNumber: true, isWide: true, width: '6rem' },
  { name: 'Process', cell: (host) => host.process ?? <span class="muted">–</span>, isNumber: true, isWide: true, width: '6rem' },
  { name: 'Version', by: (host) => host.version ?? '', cell: (host) => host.version ?? <span class="muted">–</span>, isWide: true, width: '6rem' },
  {
    name: 'Disk free',
    by: (host) => host.disk?.free_bytes ?? 0,
    cell: (host) =>
      host.disk ? (
        <span class="heap">
          {bytes(host.disk.free_bytes)}
          <Bar value={host.disk.total_bytes - host.disk.free_bytes} of={host.disk.total_bytes} label={`${bytes(host.disk.free_bytes)} of ${bytes(host.disk.total_bytes)} are free`} />
        </span>
      ) : (
        <span class="muted">–</span>
      ),
    isNumber: true,
    isWide: true,
    width: '9rem',
  },
  { name: 'Key', cell: (host) => <Id id={host.key ?? ''} />, isWide: true, width: '8rem' },
];

export function Hosts() {
  const { hosts, link } = useStore();
  const place = usePlace();
  const query = place.params.get('q') ?? '';
  const wanted = place.params.get('state');
  const all = [...hosts.values()];
  const found = all.filter((host) => matches(query, host.name, host.key, host.version, ...host.vats.map((vat) => vat.name)));
  const states = [...new Set(all.map((host) => host.state))].sort();
  const choices = states.map((value) => ({ value, word: value, count: found.filter((host) => host.state === value).length }));
  return (
    <section aria-labelledby="title">
      <header class="head">
        <h1 id="title">Hosts</h1>
        <Chips name="state" label="Filter by state" choices={choices} />
      </header>
      <Table
        rows={found.filter((host) => !wanted || host.state === wanted)}
        columns={COLUMNS}
        id={(host) => host.name}
        caption="Hosts, and how they stand"
        none={link === 'loading' ? 'Asking the hosts…' : 'No host is as the filters say.'}
        sort="State"
      />
    </section>
  );
}

export function Host({ name }: { name: string }) {
  const { hosts, vats, link } = useStore();
  const host = hosts.get(name);
  if (!host) return <h1>{link === 'loading' ? 'Asking the hosts…' : `There is no host ${name} here`}</h1>;
  const names = new Map([...hosts.values()].map((other) => [other.key, other.name]));
  type Peer = HostView['peers'][number];
  type Carried = HostView['vats'][number];
  const peers: Column<Peer>[] = [
    { name: 'Host', by: (peer) => names.get(peer.key) ?? peer.key, cell: (peer) => names.get(peer.key) ?? <Id id={peer.key} />, width: '10rem' },
    { name: 'Connection', cell: (peer) => (peer.connected ? <Mark level="well" word="connected" /> : <Mark level="attention" word="not connected" />), width: '10rem' },
    { name: 'Addresses', cell: (peer) => <code class="wrap">{peer.addresses.join(' ')}</code>, isWide: true },
    { name: 'Last error', cell: (peer) => peer.last_error ?? <span class="muted">–</span>, isWide: true },
  ];
  const carried: Column<Carried>[] = [
    { name: 'Vat', by: (vat) => vat.name, cell: (vat) => <a href={`/vats/${vat.vat}`}>{vat.name}</a>, width: '14rem' },
    { name: 'Role', by: (vat) => vat.role, cell: (vat) => vat.role, width: '8rem' },
    { name: 'State of the vat', cell: (vat) => <Mark level={vats.get(vat.vat)?.level ?? 'silent'} /> },
  ];
  return (
    <section aria-labelledby="title">
      <header class="head">
        <h1 id="title">{host.name}</h1>
        <Mark level={host.level} word={host.state} />
        <Id id={host.key ?? ''} digits={16} />
      </header>
      <Problems problems={host.problems} level={host.level} />
      <Facts
        facts={[
          ['Fingerprint', <code>{host.fingerprint ?? '–'}</code>],
          ['Home', <code class="wrap">{host.home}</code>],
          ['Up for', host.started_at_ms ? <Ago at={host.started_at_ms} /> : '–'],
          ['Process', host.process ?? '–'],
          ['Version', host.version ?? '–'],
          ['Engine image', <Id id={host.image ?? ''} />],
          ['Listens at', <code class="wrap">{host.listen.join(' ') || '–'}</code>],
          ['Metrics', host.http ? <code>http://{host.http}/metrics</code> : '–'],
          ['Disk', host.disk ? `${bytes(host.disk.free_bytes)} of ${bytes(host.disk.total_bytes)} free` : '–'],
          ['Evidence against members of other vats', number(host.peer_evidence)],
        ]}
      />
      <h2>Vats</h2>
      <Table rows={host.vats} columns={carried} id={(vat) => vat.vat} caption={`Vats on ${host.name}`} none="It carries no vat." sort="Vat" />
      <h2>Other hosts</h2>
      <Table rows={host.peers} columns={peers} id={(peer) => peer.key} caption={`Hosts that ${host.name} wants to be connected with`} none="It needs no other host." sort="Host" />
    </section>
  );
}
