// What hosts keep of members that contradict one another.
import { useState } from 'preact/hooks';
import { CheckResult, useCheck } from './check';
import type { EvidenceView, PieceView } from './model';
import { Failure, Table, matches, type Column } from './parts';
import { usePlace } from './place';
import { ask, useAsked, useStore } from './store';
import { number } from './words';

const COLUMNS: Column<PieceView>[] = [
  { name: 'Vat', by: (piece) => piece.name ?? piece.vat, cell: (piece) => <a href={`/vats/${piece.vat}`}>{piece.name ?? piece.vat.slice(0, 8)}</a>, width: '12%' },
  { name: 'Kind', by: (piece) => piece.kind, cell: (piece) => piece.kind, width: '11rem' },
  {
    name: 'Convicts',
    by: (piece) => piece.accused.map((person) => person.name).join(),
    cell: (piece) =>
      piece.accused.length ? (
        <strong class="trouble">
          {piece.accused.map((person) => (
            <span key={person.key} class="pair" title={`${person.key}\nfingerprint ${person.fingerprint}`}>
              {person.name}
            </span>
          ))}
        </strong>
      ) : (
        <span class="muted">nobody</span>
      ),
  },
  { name: 'Epoch', by: (piece) => piece.epoch, cell: (piece) => number(piece.epoch), isNumber: true, isWide: true, width: '5rem' },
  { name: 'Block', by: (piece) => piece.block ?? 0, cell: (piece) => (piece.block === null ? '–' : number(piece.block)), isNumber: true, isWide: true, width: '6rem' },
  { name: 'Who signed', cell: (piece) => piece.signers.map((person) => person.name).join(', '), isWide: true },
  { name: 'Kept by', cell: (piece) => piece.hosts.join(', '), isWide: true },
];

export function Evidence() {
  const { vats, hosts } = useStore();
  const query = usePlace().params.get('q') ?? '';
  const version = `${[...vats.values()].map((vat) => vat.equivocations + vat.disagreements).join()} ${[...hosts.values()].map((host) => `${host.state} ${host.peer_evidence}`).join()}`;
  const { value, problem } = useAsked<EvidenceView>('/evidence', version);
  const { result, check } = useCheck();
  const [failure, setFailure] = useState<string | null>(null);
  const shown = (value?.pieces ?? []).filter((piece) =>
    matches(query, piece.name, piece.vat, piece.kind, ...piece.accused.flatMap((person) => [person.name, person.key]), ...piece.signers.map((person) => person.name)),
  );
  const fetchAndCheck = async () => {
    setFailure(null);
    const answer = await fetch('/api/evidence/file');
    if (answer.ok) await check(await answer.blob(), 'evidence.proof');
    else await ask('/evidence/file').catch((error: Error) => setFailure(error.message));
  };
  return (
    <section aria-labelledby="title">
      <header class="head">
        <h1 id="title">Evidence</h1>
        <div class="row">
          <a class="button" href="/api/evidence/file" download="evidence.proof">
            Download all
          </a>
          <button type="button" class="button main" onClick={fetchAndCheck}>
            Check all
          </button>
        </div>
      </header>
      <p class="note">
        An equivocation convicts a member: it signed two things of which it may sign one. A disagreement and a divergence accuse nobody: a member signed something else than
        a replica computed, and either may have been shown another log.
      </p>
      <Failure problem={problem ?? failure} />
      <Table rows={shown} columns={COLUMNS} id={(piece) => [piece.vat, piece.kind, piece.epoch, piece.block, piece.signers.map((person) => person.key), piece.hosts].join()} caption="Evidence" none={value ? 'No evidence is kept.' : 'Asking the hosts…'} sort="-Convicts" />
      {value && value.hosts_down.length > 0 && <p class="note">Not asked, since they do not run: {value.hosts_down.join(', ')}</p>}
      <CheckResult result={result} />
    </section>
  );
}
