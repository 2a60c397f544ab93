// All vats.
import { Bar, Chips, Id, LEVELS, Mark, Signers, Table, matches, type Column } from './parts';
import type { VatView } from './model';
import { usePlace } from './place';
import { useStore } from './store';
import { bytes, number, short } from './words';

const unacknowledged = (vat: VatView) => vat.streams.reduce((sum, stream) => sum + stream.unacknowledged, 0);

const COLUMNS: Column<VatView>[] = [
  {
    name: 'Vat',
    by: (vat) => vat.name,
    cell: (vat) => (
      <a class="name" href={`/vats/${vat.vat}`} title={vat.vat}>
        {vat.name}
      </a>
    ),
    width: '16%',
  },
  {
    name: 'State',
    by: (vat) => LEVELS.indexOf(vat.level),
    cell: (vat) => (
      <span title={vat.problems.join('\n')}>
        <Mark level={vat.level} />
      </span>
    ),
    width: '7rem',
  },
  { name: 'Signed', title: 'Who signed the newest certified block', cell: (vat) => <Signers vat={vat} />, width: '9rem' },
  { name: 'Leader', by: (vat) => vat.leader ?? '', cell: (vat) => vat.leader ?? <span class="muted">none</span>, isWide: true, width: '8rem' },
  { name: 'Epoch', by: (vat) => vat.epoch, cell: (vat) => number(vat.epoch), isNumber: true, isWide: true, width: '5rem' },
  { name: 'Block', by: (vat) => vat.block, cell: (vat) => number(vat.block), isNumber: true, width: '6rem' },
  {
    name: 'Certified',
    by: (vat) => vat.certified_block,
    cell: (vat) => number(vat.certified_block),
    isNumber: true,
    isWide: true,
    width: '6rem',
  },
  { name: 'Deliveries', by: (vat) => vat.deliveries, cell: (vat) => short(vat.deliveries), isNumber: true, isWide: true, width: '6.5rem' },
  {
    name: 'Unacked',
    title: 'Messages to other vats that these have not acknowledged',
    by: unacknowledged,
    cell: (vat) => number(unacknowledged(vat)),
    isNumber: true,
    isWide: true,
    width: '6rem',
  },
  {
    name: 'Heap',
    by: (vat) => vat.heap_bytes,
    cell: (vat) => (
      <span class="heap">
        {bytes(vat.heap_bytes)}
        <Bar value={vat.heap_bytes} of={vat.heap_limit_bytes} label={`${bytes(vat.heap_bytes)} of ${bytes(vat.heap_limit_bytes)}`} />
      </span>
    ),
    isNumber: true,
    isWide: true,
    width: '8.5rem',
  },
  { name: 'VatId', cell: (vat) => <Id id={vat.vat} />, isWide: true, width: '8rem' },
];

export function Vats() {
  const { vats, link } = useStore();
  const place = usePlace();
  const query = place.params.get('q') ?? '';
  const level = place.params.get('state');
  const all = [...vats.values()];
  const found = all.filter((vat) => matches(query, vat.name, vat.vat, vat.leader, ...vat.members.map((member) => member.name)));
  const shown = found.filter((vat) => !level || vat.level === level);
  const choices = LEVELS.map((value) => ({ value, word: value, count: found.filter((vat) => vat.level === value).length }));
  const none =
    link === 'loading' ? (
      'Asking the hosts…'
    ) : all.length ? (
      'No vat is as the filters say.'
    ) : (
      <>
        No vats yet. <code>vat create</code> makes one on these hosts.
      </>
    );
  return (
    <section aria-labelledby="title">
      <header class="head">
        <h1 id="title">Vats</h1>
        <Chips name="state" label="Filter by state" choices={choices} />
      </header>
      <Table rows={shown} columns={COLUMNS} id={(vat) => vat.vat} caption="Vats, and how they stand" none={none} sort="State" />
    </section>
  );
}
