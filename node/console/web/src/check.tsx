// Checks files of proofs, as `vat verify` does: by the program that serves the page.
import { useState } from 'preact/hooks';
import type { CheckReply } from './model';
import { Failure, Id } from './parts';
import { plural } from './words';

export interface Result {
  name: string;
  reply: CheckReply | null;
  problem: string | null;
}

export function useCheck() {
  const [result, set] = useState<Result | null>(null);
  const check = async (file: Blob, name: string) => {
    set({ name, reply: null, problem: null });
    try {
      const answer = await fetch('/api/check', { method: 'POST', body: file, headers: { 'content-type': 'application/octet-stream' } });
      if (!answer.ok) throw Error(answer.status === 413 ? 'It is larger than any file of proofs.' : `The console answered ${answer.status}.`);
      set({ name, reply: (await answer.json()) as CheckReply, problem: null });
    } catch (error) {
      set({ name, reply: null, problem: (error as Error).message });
    }
  };
  return { result, check };
}

export function CheckResult({ result }: { result: Result | null }) {
  if (!result) return null;
  const { name, reply, problem } = result;
  if (problem) return <Failure problem={problem} />;
  if (!reply) return <p role="status">Checking {name}…</p>;
  if ('refused' in reply) {
    return (
      <div class="verdict bad" role="status">
        <h2>{name} proves nothing</h2>
        <p>{reply.refused}</p>
      </div>
    );
  }
  const { accused, vats } = reply.proven;
  return (
    <div class="verdict good" role="status">
      <h2>Everything in {name} holds</h2>
      <p class="muted">
        {accused.length ? `${plural(accused.length, 'member is', 'members are')} convicted.` : 'No member is accused.'} Compare the VatId with the one that you were told by another way.
      </p>
      {vats.map((vat) => (
        <div key={vat.vat}>
          <p>
            VatId <Id id={vat.vat} digits={64} />
          </p>
          <dl class="findings">
            <dt>members</dt>
            <dd>
              <ul>
                <li class="proven">
                  in epoch {vat.epoch}: {vat.members.map((member) => `${member.name} (${member.fingerprint})`).join(', ')}; {vat.threshold} of them must sign
                </li>
                <li class="not-proven">that no later epoch has begun</li>
              </ul>
            </dd>
            {vat.findings.map((finding, at) => [
              <dt key={`${at} kind`}>{finding.kind}</dt>,
              <dd key={at}>
                <ul>
                  {finding.proven.map((text) => (
                    <li key={text} class="proven">
                      {text}
                    </li>
                  ))}
                  {finding.not_proven.map((text) => (
                    <li key={text} class="not-proven">
                      {text}
                    </li>
                  ))}
                  {finding.accused.map((key) => (
                    <li key={key} class="accused">
                      <Id id={key} digits={16} />
                    </li>
                  ))}
                </ul>
              </dd>,
            ])}
          </dl>
        </div>
      ))}
    </div>
  );
}

export function Check() {
  const { result, check } = useCheck();
  const take = (files: FileList | null | undefined) => files?.[0] && void check(files[0], files[0].name);
  return (
    <section aria-labelledby="title">
      <header class="head">
        <h1 id="title">Check a file of proofs</h1>
      </header>
      <p>
        What <code>vat prove</code>, <code>vat call --proof</code> and <code>vat evidence --export</code> write. It is checked by the program that serves this page, by the
        code of <code>vat verify</code>; nothing is asked of any host.
      </p>
      <label
        class="drop"
        onDragOver={(event) => event.preventDefault()}
        onDrop={(event) => {
          event.preventDefault();
          take(event.dataTransfer?.files);
        }}
      >
        <span>Choose a file, or drop it here</span>
        <input
          type="file"
          onChange={(event) => {
            take(event.currentTarget.files);
            // So that the same file is taken again once it has changed.
            event.currentTarget.value = '';
          }}
        />
      </label>
      <CheckResult result={result} />
    </section>
  );
}
