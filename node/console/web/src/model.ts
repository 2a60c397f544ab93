// What the console's server answers. The Rust structs are the source (node/console/src/model.rs and detail.rs); node/console/tests/types.rs
// holds these types to real answers, field by field.

export type Level = 'well' | 'attention' | 'trouble' | 'silent';
export type HostState = 'up' | 'down' | 'hung' | 'exported' | 'unusable';
export type MemberState = 'up' | 'down' | 'hung' | 'unusable' | 'faulty' | 'unseen';

export interface Update {
  /** What is not in here is no longer there. */
  is_whole: boolean;
  at_ms: number;
  problem: string | null;
  /** By name; `null` is gone. */
  hosts: Record<string, HostView | null>;
  /** By id, likewise. */
  vats: Record<string, VatView | null>;
}

export interface HostView {
  name: string;
  key: string | null;
  fingerprint: string | null;
  home: string;
  state: HostState;
  level: Level;
  problems: string[];
  version: string | null;
  image: string | null;
  process: number | null;
  started_at_ms: number | null;
  listen: string[];
  http: string | null;
  peers: { key: string; connected: boolean; addresses: string[]; last_error: string | null; version: string | null }[];
  vats: { vat: string; name: string; role: string }[];
  disk: { free_bytes: number; total_bytes: number } | null;
  peer_evidence: number;
  muted: string[];
}

export interface MemberView {
  name: string;
  key: string;
  fingerprint: string;
  addresses: string[];
  state: MemberState;
  why: string | null;
  signed: boolean;
}

export interface ApprovalView {
  id: string;
  change: string;
  proposer: string;
  out: [string, string] | null;
  joining: [string, string] | null;
  fingerprint: string | null;
  threshold_before: number;
  members_after: number | null;
  threshold_after: number | null;
  needed: number;
  approved: string[];
  rejected: string[];
  waits_for_newcomer: boolean;
  unanswered: string[];
}

export interface StreamView {
  peer: string;
  name: string | null;
  sent: number;
  unacknowledged: number;
  received: number;
  arrived: number | null;
  kept_bytes: number;
  fuel_ahead: number;
  broken: boolean;
}

export interface ReplicaView {
  host: string;
  role: string;
  term: number;
  epoch: number;
  committed_block: number;
  applied_block: number;
  certified_block: number;
  checkpoint_block: number;
  certified_checkpoint_block: number;
  state_root: string | null;
  heap_bytes: number;
  fault: string | null;
  stuck: string | null;
  complains: string | null;
  moved_at_ms: number;
}

export interface VatView {
  vat: string;
  name: string;
  level: Level;
  problems: string[];
  image: string;
  epoch: number;
  certified_epoch: number;
  threshold: number;
  reachable: number;
  can_order: boolean;
  can_speak: boolean;
  members: MemberView[];
  leader: string | null;
  term: number;
  block: number;
  certified_block: number;
  deliveries: number;
  heap_bytes: number;
  heap_limit_bytes: number;
  equivocations: number;
  disagreements: number;
  pending_change: string | null;
  approvals: ApprovalView[];
  installed: boolean;
  setup: string | null;
  exited: unknown;
  recovered: string[];
  streams: StreamView[];
  replicas: ReplicaView[];
}

export interface SignedBlock {
  block: number;
  epoch: number;
  statement: string;
  state_root: string | null;
  signers: string[];
  hosts: string[];
}

export interface SignedBlocks {
  certified_block: number;
  blocks: SignedBlock[];
}

export interface PersonView {
  name: string;
  key: string;
  fingerprint: string;
}

export interface EpochView {
  epoch: number;
  threshold: number;
  members: PersonView[];
  hash: string;
  signers: string[];
  needed: number;
  members_before: number;
  recovered_after: number | null;
}

export interface FindingView {
  kind: string;
  proven: string[];
  not_proven: string[];
  accused: string[];
}

export interface CheckedView {
  accused: string[];
  vats: { vat: string; epoch: number; threshold: number; members: PersonView[]; findings: FindingView[] }[];
}

export type CheckReply = { proven: CheckedView } | { refused: string };

export interface PieceView {
  vat: string;
  name: string | null;
  kind: string;
  epoch: number;
  block: number | null;
  accused: PersonView[];
  signers: PersonView[];
  hosts: string[];
}

export interface EvidenceView {
  pieces: PieceView[];
  hosts_down: string[];
}

export interface WorkStatus {
  account: string;
  deliveries: number;
  fuel: number;
  execution_ms: number;
  rolled_back: string[];
}

export interface BlockStatus {
  block: number;
  at_ms: number;
  heads: { peer: string; end: number; ack: number }[];
  work: WorkStatus[];
}

export interface BlocksView {
  host: string;
  blocks: BlockStatus[];
}

export interface HopView {
  from: string;
  to: string;
  message: number;
  said: { block: number; at_ms: number; or_before: boolean; signers: string[]; threshold: number } | null;
  taken: {
    block: number;
    at_ms: number;
    or_before: boolean;
    work: WorkStatus | null;
    sayings: { to: string; first: number | null; last: number }[];
  } | null;
  acknowledged: boolean | null;
}

/** What only the owner is answered (node/console/src/admin.rs). */
export interface AdminView {
  offered: boolean;
  accepted: boolean;
}

export interface LineView {
  block: number | null;
  level: string | null;
  text: string;
}

export interface LogsView {
  lines: LineView[];
  searched: number;
  found: number;
}

export interface HolderView {
  vat: string;
  name: string | null;
}

export interface ObjectView {
  object: number;
  interface: string | null;
  holders: HolderView[];
  references: { key: string; note: string; expires_ms: number | null }[];
}

export interface ObjectsView {
  block: number;
  objects: ObjectView[];
  through: { vat: string; name: string | null; path: HolderView[] }[];
  is_cut: boolean;
}

export interface AnsweredView {
  message: string;
}
