// One vat.
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { CheckResult, useCheck } from './check';
import type { BlocksView, EpochView, SignedBlock, SignedBlocks, VatView } from './model';
import { Ago, Bar, Facts, Failure, Id, Mark, Problems, Signers, Table, Tabs, type Column } from './parts';
import { Objects } from './objects';
import { usePlace } from './place';
import { ask, state, useAsked, useStore } from './store';
import { StreamTable } from './streams';
import { bytes, list, number, plural, short } from './words';

export function Vat({ id }: { id: string }) {
  const { vats, link } = useStore();
  const place = usePlace();
  const vat = vats.get(id) ?? [...vats.values()].find((vat) => vat.name === id);
  if (!vat) {
    return (
      <section>
        <h1>{link === 'loading' ? 'Asking the hosts…' : 'There is no such vat here'}</h1>
        {link !== 'loading' && (
          <p>
            <a href="/">All vats</a>
          </p>
        )}
      </section>
    );
  }
  const tab = place.params.get('tab') ?? 'signatures';
  const tabs = [
    { tab: 'signatures', word: 'Signatures' },
    { tab: 'epochs', word: 'Epochs', count: vat.epoch + 1 },
    { tab: 'streams', word: 'Streams', count: vat.streams.length },
    { tab: 'blocks', word: 'Messages' },
    { tab: 'replicas', word: 'Replicas', count: vat.replicas.length },
    { tab: 'objects', word: 'Objects' },
    { tab: 'proof', word: 'Proof' },
  ];
  return (
    <section aria-labelledby="title">
      <header class="head">
        <h1 id="title">{vat.name}</h1>
        <Mark level={vat.level} />
        <Id id={vat.vat} digits={16} />
      </header>
      <Problems problems={[...vat.problems, ...vat.recovered]} level={vat.level} />
      <Facts
        facts={[
          ['Must sign', `${vat.threshold} of ${vat.members.length}`],
          ['Newest block', <Signers vat={vat} />],
          ['Leader', vat.leader ?? 'none'],
          ['Term', number(vat.term)],
          ['Epoch', number(vat.epoch)],
          ['Block', number(vat.block)],
          ['Certified', number(vat.certified_block)],
          ['Deliveries', number(vat.deliveries)],
          [
            'Heap',
            <span class="heap">
              {bytes(vat.heap_bytes)}
              <Bar value={vat.heap_bytes} of={vat.heap_limit_bytes} label={`${bytes(vat.heap_bytes)} of ${bytes(vat.heap_limit_bytes)}`} />
            </span>,
          ],
          ['Code', vat.exited !== null ? 'has exited' : vat.installed ? (vat.setup === 'waiting' ? 'sets up' : 'installed') : 'none yet'],
        ]}
      />
      <Tabs tabs={tabs} label={`Views of ${vat.name}`} />
      {tab === 'signatures' && <Signatures vat={vat} />}
      {tab === 'epochs' && <Epochs vat={vat} />}
      {tab === 'streams' && <StreamTable streams={vat.streams.map((stream) => ({ vat, stream }))} isOfOne />}
      {tab === 'blocks' && <Blocks vat={vat} />}
      {tab === 'replicas' && <Replicas vat={vat} />}
      {tab === 'objects' && <Objects vat={vat} />}
      {tab === 'proof' && <Proof vat={vat} />}
    </section>
  );
}

/** Blocks in the matrix. */
const COLUMNS = 48;

/** All certified blocks that were seen while the page is open: hosts forget what a checkpoint covers. */
function useSigned(vat: VatView): { blocks: SignedBlock[]; problem: string | null } {
  const kept = useRef({ vat: vat.vat, blocks: new Map<string, SignedBlock>() });
  if (kept.current.vat !== vat.vat) kept.current = { vat: vat.vat, blocks: new Map() };
  const asked = useAsked<SignedBlocks>(`/vats/${vat.vat}/signed`, `${vat.certified_block} ${vat.replicas.map((replica) => replica.certified_block).join()}`);
  const blocks = kept.current.blocks;
  for (const block of asked.value?.blocks ?? []) blocks.set(`${block.block} ${block.statement}`, block);
  const all = [...blocks.values()].sort((one, other) => one.block - other.block);
  for (const old of all.slice(0, -512)) blocks.delete(`${old.block} ${old.statement}`);
  return { blocks: all, problem: asked.problem };
}

function Signatures({ vat }: { vat: VatView }) {
  const { blocks, problem } = useSigned(vat);
  const shown = blocks.slice(-COLUMNS);
  const { value: epochs } = useAsked<EpochView[]>(`/vats/${vat.vat}/epochs`, `${vat.epoch} ${vat.certified_epoch}`);
  // Also those who have left.
  const names = new Map(epochs?.flatMap((epoch) => epoch.members.map((member) => [member.key, member.name] as const)));
  vat.members.forEach((member) => names.set(member.key, member.name));
  const isMember = (key: string, epoch: number) => epochs?.find((other) => other.epoch === epoch)?.members.some((member) => member.key === key) ?? true;
  const others = [...new Set(shown.flatMap((block) => block.signers))].filter((key) => !vat.members.some((member) => member.key === key));
  const name = (key: string) => names.get(key) ?? key.slice(0, 8);
  const rows = [...vat.members.map((member) => ({ key: member.key, name: member.name, state: member.state as string })), ...others.map((key) => ({ key, name: name(key), state: 'left' }))];
  const newest = blocks.slice(-20).reverse();
  // In narrow windows, the newest block is to be seen.
  const frame = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const last = frame.current?.querySelector<HTMLElement>(`th:nth-child(${shown.length + 1})`);
    if (last && frame.current) frame.current.scrollLeft = last.offsetLeft + 40 - frame.current.clientWidth;
  }, [shown.length]);
  const columns: Column<SignedBlock>[] = [
    { name: 'Block', cell: (block) => number(block.block), isNumber: true, width: '5.5rem' },
    { name: 'Epoch', cell: (block) => number(block.epoch), isNumber: true, isWide: true, width: '5rem' },
    { name: 'Signed by', cell: (block) => block.signers.map(name).join(', ') },
    { name: 'Kept by', cell: (block) => block.hosts.join(', '), isWide: true },
    { name: 'Statement', cell: (block) => <Id id={block.statement} />, isWide: true, width: '8rem' },
    { name: 'State root', cell: (block) => (block.state_root ? <Id id={block.state_root} /> : <span class="muted">–</span>), isWide: true, width: '8rem' },
  ];
  return (
    <>
      <Failure problem={problem} />
      <div class="scroll matrix-frame" ref={frame} tabIndex={0} role="region" aria-label="Who signed which block">
        <table class="matrix">
          <caption class="unseen">Who signed which of the last {COLUMNS} certified blocks, as the certificates of all replicas say</caption>
          <thead>
            <tr>
              <th scope="col">Member</th>
              {Array.from({ length: COLUMNS }, (_, at) => {
                const block = shown[at];
                const isLabelled = at % 8 === 0;
                return (
                  <th key={at} scope="col">
                    {block && <span class={isLabelled ? 'label' : 'unseen'}>{block.block}</span>}
                  </th>
                );
              })}
            </tr>
          </thead>
          <tbody>
            {rows.map((row) => (
              <tr key={row.key}>
                <th scope="row">
                  <span class={row.state === 'up' ? '' : 'muted'}>{row.name}</span>
                  {row.state !== 'up' && <span class="tag">{row.state}</span>}
                </th>
                {Array.from({ length: COLUMNS }, (_, at) => {
                  const block = shown[at];
                  const isIn = block?.signers.includes(row.key);
                  const isOut = !block || (!isIn && !isMember(row.key, block.epoch));
                  const words = isIn ? 'signed' : isOut ? 'is no member' : 'is not in a certificate';
                  return (
                    <td key={at} title={block && `Block ${block.block}: ${row.name} ${words}`}>
                      <i class={`square ${isOut ? 'empty' : ''} ${isIn ? 'signed' : ''}`} />
                      <span class="unseen">{block && words}</span>
                    </td>
                  );
                })}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <p class="note">
        A square is a signature in a certificate. A certificate is complete with {plural(vat.threshold, 'signature')}, and later ones are not added to it: a member
        without a square may have signed as well. Blocks that said nothing have none.
      </p>
      <h2>Newest certified blocks</h2>
      <Table rows={newest} columns={columns} id={(block) => `${block.block} ${block.statement}`} caption="Newest certified blocks" none={problem ? 'Not known.' : 'No block is certified yet, or a checkpoint covers them.'} sort="" isLog />
    </>
  );
}

function Epochs({ vat }: { vat: VatView }) {
  const { value, problem } = useAsked<EpochView[]>(`/vats/${vat.vat}/epochs`, `${vat.epoch} ${vat.certified_epoch}`);
  const names = useMemo(() => new Map(value?.flatMap((epoch) => epoch.members.map((member) => [member.key, member.name] as const))), [value]);
  return (
    <>
      <Failure problem={problem} />
      <ol class="epochs" reversed>
        {[...(value ?? [])].reverse().map((epoch) => {
          const before = value?.find((other) => other.epoch === epoch.epoch - 1);
          const was = new Set(before?.members.map((member) => member.key));
          const left = before?.members.filter((member) => !epoch.members.some((other) => other.key === member.key)) ?? [];
          return (
            <li key={epoch.epoch}>
              <h2>
                Epoch {epoch.epoch} {epoch.epoch === vat.epoch && <span class="tag">now</span>}
              </h2>
              <p>
                {epoch.threshold} of {epoch.members.length} must sign:{' '}
                {epoch.members.map((member, at) => (
                  <span key={member.key}>
                    {at > 0 && ', '}
                    <span class={before && !was.has(member.key) ? 'joined' : ''} title={`${member.key}\nfingerprint ${member.fingerprint}`}>
                      {before && !was.has(member.key) && '+ '}
                      {member.name}
                    </span>
                  </span>
                ))}
                {left.map((member) => (
                  <span key={member.key} class="left" title={member.key}>
                    , − {member.name}
                  </span>
                ))}
              </p>
              <p>
                {before ? (
                  epoch.recovered_after === null ? (
                    <>
                      Certified by {epoch.signers.length} of the {epoch.members_before} members of epoch {epoch.epoch - 1} ({epoch.needed} had to):{' '}
                      {list(epoch.signers.map((key) => names.get(key) ?? key.slice(0, 8)))}
                    </>
                  ) : (
                    <strong class="trouble">
                      Made by hand after block {epoch.recovered_after}, by the word of {list(epoch.signers.map((key) => names.get(key) ?? key.slice(0, 8)))}: the members
                      before did not certify it
                    </strong>
                  )
                ) : (
                  'The beginning: the VatId is the hash of it.'
                )}
              </p>
              <p class="muted">
                Membership <Id id={epoch.hash} digits={16} />
              </p>
            </li>
          );
        })}
      </ol>
      {value && <p class="note">Each epoch was checked against the one before it, from the VatId on, by the program that serves this page.</p>}
    </>
  );
}

function Blocks({ vat }: { vat: VatView }) {
  const { value, problem } = useAsked<BlocksView>(`/vats/${vat.vat}/blocks`, vat.block);
  const name = (id: string) => state.vats.get(id)?.name ?? vat.streams.find((stream) => stream.peer === id)?.name ?? id.slice(0, 8);
  const all = value?.blocks ?? [];
  const rows = [...all].reverse().slice(0, 100);
  type Row = (typeof rows)[number];
  const link = (from: string, to: string, message: number) => (
    <a href={`/follow?from=${from}&to=${to}&message=${message}`} title="Follow this message">
      {number(message)}
    </a>
  );
  const columns: Column<Row>[] = [
    { name: 'Block', cell: (row) => number(row.block), isNumber: true, width: '5.5rem' },
    { name: 'Executed', cell: (row) => <Ago at={row.at_ms} />, isWide: true, width: '5.5rem' },
    {
      name: 'Took in',
      title: 'The last message of each other vat that was taken in by then',
      cell: (row) =>
        row.heads
          .filter((head) => head.ack > 0)
          .map((head) => (
            <span class="pair" key={head.peer}>
              {name(head.peer)} {link(head.peer, vat.vat, head.ack)}
            </span>
          )),
    },
    {
      name: 'Said',
      title: 'The last message to each other vat by then',
      cell: (row) =>
        row.heads
          .filter((head) => head.end > 0)
          .map((head) => (
            <span class="pair" key={head.peer}>
              {name(head.peer)} {link(vat.vat, head.peer, head.end)}
            </span>
          )),
    },
    { name: 'On account of', cell: (row) => row.work.map((work) => <span class="pair" key={work.account}>{name(work.account)}</span>), isWide: true },
    { name: 'Deliveries', cell: (row) => number(row.work.reduce((sum, work) => sum + work.deliveries, 0)), isNumber: true, isWide: true, width: '6.5rem' },
    { name: 'Fuel', cell: (row) => short(row.work.reduce((sum, work) => sum + work.fuel, 0)), isNumber: true, isWide: true, width: '6rem' },
    {
      name: 'Limits met',
      cell: (row) => row.work.flatMap((work) => work.rolled_back).join(', ') || <span class="muted">–</span>,
      isWide: true,
      width: '7rem',
    },
  ];
  return (
    <>
      <Failure problem={problem} />
      <p class="note">
        As one of its hosts remembers since it started. A number of a message leads to its way from vat to vat.
      </p>
      <Table rows={rows} columns={columns} id={(row) => String(row.block)} caption="Blocks that said or did something" none={value ? 'Nothing since this host started.' : 'Asking…'} sort="" isLog />
    </>
  );
}

function Replicas({ vat }: { vat: VatView }) {
  type Row = VatView['replicas'][number];
  const columns: Column<Row>[] = [
    { name: 'Host', by: (row) => row.host, cell: (row) => <a href={`/hosts/${encodeURIComponent(row.host)}`}>{row.host}</a>, width: '9rem' },
    { name: 'Role', by: (row) => row.role, cell: (row) => row.role, width: '7rem' },
    { name: 'Term', cell: (row) => number(row.term), isNumber: true, isWide: true, width: '5rem' },
    { name: 'Block', by: (row) => row.applied_block, cell: (row) => number(row.applied_block), isNumber: true, width: '6rem' },
    { name: 'Behind', title: 'Blocks that it has not executed and another replica has', by: (row) => vat.block - row.applied_block, cell: (row) => number(vat.block - row.applied_block), isNumber: true, width: '6rem' },
    { name: 'Certified', cell: (row) => number(row.certified_block), isNumber: true, isWide: true, width: '6rem' },
    { name: 'Checkpoint', cell: (row) => number(row.certified_checkpoint_block), isNumber: true, isWide: true, width: '7rem' },
    { name: 'State root', cell: (row) => (row.state_root ? <Id id={row.state_root} /> : <span class="muted">–</span>), isWide: true, width: '8rem' },
    { name: 'Moved', title: 'When it last got on', cell: (row) => <Ago at={row.moved_at_ms} />, isWide: true, width: '5rem' },
    { name: 'What to know', cell: (row) => row.fault ?? row.stuck ?? row.complains ?? <span class="muted">–</span> },
  ];
  return <Table rows={vat.replicas} columns={columns} id={(row) => row.host} caption={`Replicas of ${vat.name}`} none="No host that carries it runs here." sort="Host" />;
}

function Proof({ vat }: { vat: VatView }) {
  const [problem, setProblem] = useState<string | null>(null);
  const { result, check } = useCheck();
  const path = `/vats/${vat.vat}/proof`;
  useEffect(() => setProblem(null), [path]);
  const fetchAndCheck = async () => {
    setProblem(null);
    const answer = await fetch(`/api${path}`);
    if (!answer.ok) {
      await ask(path).catch((error: Error) => setProblem(error.message));
      return;
    }
    await check(await answer.blob(), `${vat.name}.proof`);
  };
  return (
    <>
      <p>
        A file of proofs shows others what this vat has certified: its members, its newest block, the root of its state. They need nothing of these hosts: <code>vat verify FILE {vat.vat.slice(0, 8)}…</code> checks it on any
        machine, from the VatId alone. What other vats said to it, and answers, <code>vat prove --from</code> and <code>vat call --proof</code> write.
      </p>
      <div class="row">
        <a class="button" href={`/api${path}`} download={`${vat.name}.proof`}>
          Download
        </a>
        <button type="button" class="button main" onClick={fetchAndCheck}>
          Get and check
        </button>
      </div>
      <Failure problem={problem} />
      <CheckResult result={result} />
    </>
  );
}
