// Streams between vats.
import type { StreamView, VatView } from './model';
import { Bar, Chips, Id, Mark, Table, matches, type Column } from './parts';
import { usePlace } from './place';
import { useStore } from './store';
import { bytes, number, short } from './words';

interface Row {
  vat: VatView;
  stream: StreamView;
}

const peerName = (stream: StreamView) => stream.name ?? '';
const acknowledged = (stream: StreamView) => stream.sent - stream.unacknowledged;
/** Messages that the other vat has not taken in yet, as far as it is here. */
const onTheWay = ({ stream }: Row) => (stream.arrived === null ? stream.unacknowledged : Math.max(0, stream.sent - stream.arrived));

export function StreamTable({ streams, isOfOne = false }: { streams: Row[]; isOfOne?: boolean }) {
  const { vats } = useStore();
  const columns: Column<Row>[] = [
    { name: 'From', by: ({ vat }: Row) => vat.name, cell: ({ vat }: Row) => <a href={`/vats/${vat.vat}?tab=streams`}>{vat.name}</a>, width: '14%' },
    {
      name: 'To',
      by: ({ stream }: Row) => peerName(stream) || stream.peer,
      cell: ({ stream }: Row) =>
        vats.has(stream.peer) ? (
          <a href={`/vats/${stream.peer}?tab=streams`}>{stream.name ?? vats.get(stream.peer)?.name}</a>
        ) : (
          <>
            {stream.name} <Id id={stream.peer} />
          </>
        ),
      width: '14%',
    },
    {
      name: 'Sent',
      title: 'Messages sent, in all: follow the last one',
      by: ({ stream }: Row) => stream.sent,
      cell: ({ vat, stream }: Row) =>
        stream.sent ? <a href={`/follow?from=${vat.vat}&to=${stream.peer}&message=${stream.sent}`}>{number(stream.sent)}</a> : '0',
      isNumber: true,
      width: '6rem',
    },
    { name: 'Acked', title: 'Acknowledged by the other vat', by: ({ stream }: Row) => acknowledged(stream), cell: ({ stream }: Row) => number(acknowledged(stream)), isNumber: true, isWide: true, width: '6rem' },
    {
      name: 'Lag',
      title: 'Messages that are not acknowledged',
      by: ({ stream }: Row) => stream.unacknowledged,
      cell: (row: Row) => (
        <span class="heap">
          {number(row.stream.unacknowledged)}
          <Bar value={row.stream.unacknowledged} of={Math.max(20, row.stream.unacknowledged)} label={`${number(row.stream.unacknowledged)} not acknowledged, ${number(onTheWay(row))} not taken in`} />
        </span>
      ),
      isNumber: true,
      width: '7rem',
    },
    { name: 'Received', title: 'Messages received from the other vat', by: ({ stream }: Row) => stream.received, cell: ({ stream }: Row) => number(stream.received), isNumber: true, isWide: true, width: '6.5rem' },
    { name: 'Kept', title: 'What the other vat makes this one keep', by: ({ stream }: Row) => stream.kept_bytes, cell: ({ stream }: Row) => bytes(stream.kept_bytes), isNumber: true, isWide: true, width: '6rem' },
    { name: 'Fuel ahead', title: 'How much more fuel its messages have burnt than those of the least of the others', by: ({ stream }: Row) => stream.fuel_ahead, cell: ({ stream }: Row) => short(stream.fuel_ahead), isNumber: true, isWide: true, width: '7rem' },
    { name: 'State', by: ({ stream }: Row) => Number(!stream.broken), cell: ({ stream }: Row) => (stream.broken ? <Mark level="trouble" word="broken" /> : <Mark level="well" />), width: '7rem' },
  ];
  return (
    <Table
      rows={streams}
      columns={isOfOne ? columns.slice(1) : columns}
      id={({ vat, stream }) => `${vat.vat} ${stream.peer}`}
      caption="Streams between vats"
      none="No streams: no vat has spoken with another one."
      sort="-Lag"
    />
  );
}

export function Streams() {
  const { vats } = useStore();
  const place = usePlace();
  const query = place.params.get('q') ?? '';
  const kind = place.params.get('state');
  const all = [...vats.values()].flatMap((vat) => vat.streams.map((stream) => ({ vat, stream })));
  const found = all.filter(({ vat, stream }) => matches(query, vat.name, vat.vat, stream.name, stream.peer));
  const kinds: Record<string, (row: Row) => boolean> = { lagging: ({ stream }) => stream.unacknowledged > 0, broken: ({ stream }) => stream.broken };
  const shown = found.filter((row) => !kind || kinds[kind]?.(row));
  const choices = Object.entries(kinds).map(([value, is]) => ({ value, word: value, count: found.filter(is).length }));
  return (
    <section aria-labelledby="title">
      <header class="head">
        <h1 id="title">Streams</h1>
        <Chips name="state" label="Filter streams" choices={choices} />
      </header>
      <StreamTable streams={shown} />
    </section>
  );
}
