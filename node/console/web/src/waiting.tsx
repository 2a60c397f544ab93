// What waits for the approval of owners.
import { useRef, useState } from 'preact/hooks';
import type { AnsweredView, ApprovalView, VatView } from './model';
import { Command, Failure, Id, matches } from './parts';
import { usePlace } from './place';
import { ask, useStore } from './store';
import { list } from './words';

export const waitingOf = (vats: Iterable<VatView>) => [...vats].flatMap((vat) => vat.approvals.map((change) => ({ vat, change })));

/** Answers for one host, once the owner has said that the answer is meant. */
function Answer({ vat, change, host }: { vat: VatView; change: ApprovalView; host: string }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [wants, want] = useState(true);
  const [isSure, setSure] = useState(false);
  const [isBusy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const open = (approve: boolean) => {
    want(approve);
    setSure(false);
    setProblem(null);
    dialog.current?.showModal();
  };
  const say = async () => {
    setBusy(true);
    try {
      await ask<AnsweredView>(`/vats/${vat.vat}/approvals`, { host, id: change.id, approve: wants });
      dialog.current?.close();
    } catch (error) {
      setProblem((error as Error).message);
    }
    setBusy(false);
  };
  const word = wants ? 'Approve' : 'Reject';
  const title = `answer-${change.id}-${host}`;
  // Who comes can be anybody's machine: the key has to be compared by another way.
  const mustCompare = wants && change.joining !== null && change.fingerprint !== null;
  return (
    <span class="answer">
      <button type="button" class="approve" onClick={() => open(true)} aria-label={`Approve for ${host}`}>
        Approve…
      </button>
      <button type="button" onClick={() => open(false)} aria-label={`Reject for ${host}`}>
        Reject…
      </button>
      <dialog ref={dialog} aria-labelledby={title}>
        <h3 id={title}>
          {word} for {host}
        </h3>
        <p>
          {vat.name}: {change.change}
        </p>
        {wants && change.members_after !== null && (
          <p>
            {change.threshold_before} of {vat.members.length} sign now, {change.threshold_after} of {change.members_after} then.
          </p>
        )}
        {!wants && <p>The change ends when too few are left that could approve it.</p>}
        {mustCompare && (
          <label class="sure">
            <input type="checkbox" checked={isSure} onChange={(event) => setSure(event.currentTarget.checked)} />
            <span>
              The owner of {change.joining?.[0]} told me this fingerprint by another way: <code>{change.fingerprint}</code>
            </span>
          </label>
        )}
        <Failure problem={problem} />
        <div class="buttons">
          <button type="button" onClick={() => dialog.current?.close()}>
            Cancel
          </button>
          <button type="button" class={wants ? 'approve' : 'reject'} disabled={isBusy || (mustCompare && !isSure)} onClick={() => void say()}>
            {word}
          </button>
        </div>
      </dialog>
    </span>
  );
}

function Change({ vat, change }: { vat: VatView; change: ApprovalView }) {
  const isOwner = useStore().admin?.accepted === true;
  return (
    <li class="card">
      <h2>
        <a href={`/vats/${vat.vat}`}>{vat.name}</a>: {change.change}
      </h2>
      <p>
        Proposed by {change.proposer}; {change.approved.length} of {change.needed} approvals ({list(change.approved)})
        {change.rejected.length > 0 && `; rejected by ${list(change.rejected)}`}
      </p>
      {change.joining && change.fingerprint && (
        <p>
          Comes: {change.joining[0]} <Id id={change.joining[1]} digits={16} />, fingerprint <code>{change.fingerprint}</code>. Compare it with its owner by another way
          before you approve.
        </p>
      )}
      {change.out && (
        <p>
          Goes: {change.out[0]} <Id id={change.out[1]} digits={16} />
        </p>
      )}
      {change.members_after !== null && (
        <p>
          {change.threshold_before} of {vat.members.length} sign now, {change.threshold_after} of {change.members_after} then
        </p>
      )}
      {change.waits_for_newcomer && <p>The newcomer has not answered: it signs its own admission once it carries the vat.</p>}
      {change.unanswered.length > 0 && isOwner ? (
        <ul class="answers">
          {change.unanswered.map((host) => (
            <li key={host}>
              <span>Waits for the owner of {host}</span>
              <Answer vat={vat} change={change} host={host} />
            </li>
          ))}
        </ul>
      ) : change.unanswered.length > 0 ? (
        <p>
          Waits for the owner of {list(change.unanswered)}: <Command text={`vat approve ${vat.name} --host ${change.unanswered[0]} --change ${change.id.slice(0, 12)}`} />
        </p>
      ) : (
        <p class="muted">All hosts here have answered; it waits for others.</p>
      )}
    </li>
  );
}

export function Waiting() {
  const { vats, link } = useStore();
  const query = usePlace().params.get('q') ?? '';
  const all = waitingOf(vats.values()).filter(({ vat, change }) => matches(query, vat.name, vat.vat, change.change, change.proposer));
  const changing = [...vats.values()].filter((vat) => vat.pending_change && matches(query, vat.name, vat.vat, vat.pending_change));
  return (
    <section aria-labelledby="title">
      <header class="head">
        <h1 id="title">Waiting for approval</h1>
      </header>
      {all.length ? (
        <ul class="cards">
          {all.map(({ vat, change }) => (
            <Change key={`${vat.vat} ${change.id}`} vat={vat} change={change} />
          ))}
        </ul>
      ) : (
        <p class="none">{link === 'loading' ? 'Asking the hosts…' : 'Nothing waits for approval.'}</p>
      )}
      {changing.length > 0 && (
        <>
          <h2>Under way</h2>
          <ul>
            {changing.map((vat) => (
              <li key={vat.vat}>
                <a href={`/vats/${vat.vat}`}>{vat.name}</a>: {vat.pending_change}
              </li>
            ))}
          </ul>
        </>
      )}
    </section>
  );
}
