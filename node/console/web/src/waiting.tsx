// What waits for the approval of owners.
import type { ApprovalView, VatView } from './model';
import { Command, Id, matches } from './parts';
import { usePlace } from './place';
import { useStore } from './store';
import { list } from './words';

export const waitingOf = (vats: Iterable<VatView>) => [...vats].flatMap((vat) => vat.approvals.map((change) => ({ vat, change })));

function Change({ vat, change }: { vat: VatView; change: ApprovalView }) {
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
      {change.unanswered.length > 0 ? (
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
