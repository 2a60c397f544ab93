// Who can use objects of a vat, and through whom, for the owner.
import type { HolderView, ObjectView, ObjectsView, VatView } from './model';
import { Failure, Id, Owner, Table, type Column } from './parts';
import { state, useAsked, useNow, useStore } from './store';
import { moment, number, plural } from './words';

/** A vat that is here, or one elsewhere, or a client. */
function Holder({ holder }: { holder: HolderView }) {
  const here = state.vats.get(holder.vat);
  return (
    <span class="pair">
      {here ? <a href={`/vats/${holder.vat}?tab=objects`}>{here.name}</a> : holder.name ?? <Id id={holder.vat} />}
    </span>
  );
}

const COLUMNS: Column<ObjectView>[] = [
  { name: 'Object', by: (row) => row.object, cell: (row) => (row.object === 0 ? 'root' : number(row.object)), isNumber: true, width: '5.5rem' },
  { name: 'Interface', by: (row) => row.interface ?? '', cell: (row) => row.interface ?? <span class="muted">–</span>, width: '14rem' },
  {
    name: 'Held by',
    title: 'Vats and clients that can use it by themselves',
    by: (row) => -row.holders.length,
    cell: (row) => (
      <>
        {row.holders.length ? row.holders.map((holder) => <Holder key={holder.vat} holder={holder} />) : <span class="muted">nobody</span>}
        {row.references.length > 0 && <span class="slim muted">and whoever has {plural(row.references.length, 'reference')}</span>}
      </>
    ),
  },
  {
    name: 'References',
    title: 'Whoever has the text of one can use the object',
    cell: (row) =>
      row.references.map((reference) => (
        <span class="pair" key={reference.key}>
          <code>{reference.key}</code> {reference.note}
          {reference.expires_ms !== null && (
            <span class="muted"> until {moment(reference.expires_ms)}</span>
          )}
        </span>
      )),
    isWide: true,
  },
];

function Known({ vat }: { vat: VatView }) {
  // Many vats are asked for it: not with each block.
  const turn = Math.floor(useNow() / 10_000);
  const { value, problem } = useAsked<ObjectsView>(`/vats/${vat.vat}/objects`, turn);
  type Through = ObjectsView['through'][number];
  const through: Column<Through>[] = [
    { name: 'Vat', by: (row) => row.name ?? row.vat, cell: (row) => <Holder holder={row} />, width: '14rem' },
    { name: 'Steps', by: (row) => row.path.length, cell: (row) => number(row.path.length), isNumber: true, width: '5rem' },
    {
      name: 'Through',
      cell: (row) => (
        <span class="path">
          {row.path.map((step, at) => (
            <span key={step.vat}>
              {at > 0 && ' → '}
              <Holder holder={step} />
            </span>
          ))}
        </span>
      ),
    },
  ];
  return (
    <>
      <Failure problem={problem} />
      <Table rows={value?.objects ?? []} columns={COLUMNS} id={(row) => String(row.object)} caption={`Objects of ${vat.name} that others can use`} none={value ? 'Nobody outside can use anything of it.' : problem ? 'Not known.' : 'Asking…'} sort="Object" />
      {value && (
        <>
          <h2>Through others</h2>
          <p class="note">
            These vats hold nothing here, but something of a vat that does, or of one that holds something there. What they can reach is what the code of those in between lets
            them. Only vats of these hosts are looked into{value.is_cut && ', and there is more than is shown'}.
          </p>
          <Table rows={value.through} columns={through} id={(row) => row.vat} caption={`Vats that can ask those that hold something of ${vat.name}`} none="There are none." sort="Steps" />
        </>
      )}
    </>
  );
}

export function Objects({ vat }: { vat: VatView }) {
  const { admin } = useStore();
  return (
    <Owner admin={admin} what="Who holds which objects">
      <Known vat={vat} />
    </Owner>
  );
}
