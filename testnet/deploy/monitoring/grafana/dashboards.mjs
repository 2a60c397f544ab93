// Makes the dashboards: node dashboards.mjs writes dashboards/*.json, node dashboards.mjs --check says whether they are up to date.
//
// A panel is a title, what it shows, its queries and a unit. Everything else is the same for all of them, and is added here.
// `$sel` stands for the hosts that are chosen, `$vsel` for these hosts and the vats that are chosen.

import { readFileSync, writeFileSync } from 'node:fs';

const SEL = 'host=~"$host"';
const VSEL = 'host=~"$host",vat=~"$vat"';
/** By member's name: the metrics have keys. */
const NAMED = '* on (instance, vat, member) group_left (name) quorate_member_info';

const rate = (name, labels = '') => `rate(${name}{$vsel${labels && `,${labels}`}}[$__rate_interval])`;
const host_rate = (name, labels = '') => `rate(${name}{$sel${labels && `,${labels}`}}[$__rate_interval])`;
const quantile = (q, name, by = 'host, vat') =>
  `histogram_quantile(${q}, sum by (${by}, le) (rate(${name}_bucket{${by.includes('vat') ? '$vsel' : '$sel'}}[$__rate_interval])))`;
const percentiles = (name, by, legend) =>
  [0.5, 0.99].map((q) => [quantile(q, name, by), `${legend} p${q * 100}`]);

/** A panel over time. */
const lines = (title, unit, queries, description = '', more = {}) => ({ type: 'timeseries', title, unit, queries, description, ...more });
/** One number for each series. */
const numbers = (title, unit, queries, description = '', more = {}) => ({ type: 'stat', title, unit, queries, description, ...more });
const table = (title, queries, description = '') => ({ type: 'table', title, unit: 'none', queries, description, width: 24 });
const states = (title, queries, description = '', mappings = []) =>
  ({ type: 'state-timeline', title, unit: 'none', queries, description, mappings });
const heat = (title, unit, queries, description = '') => ({ type: 'heatmap', title, unit, queries, description });

const BAD_ABOVE_ZERO = { steps: [[null, 'green'], [1, 'red']] };
const MARGIN = { steps: [[null, 'red'], [0, 'orange'], [1, 'green']] };

const overview = {
  uid: 'quorate-overview',
  title: 'Quorate: overview',
  rows: [
    ['Fleet', [
      numbers('Hosts down', 'none', [['count(up{job="quorate",$sel} == 0) or vector(0)', 'down']], 'Hosts that Prometheus does not reach.', { ...BAD_ABOVE_ZERO, width: 4 }),
      numbers('Faults', 'none', [['sum(quorate_replica_fault{$vsel})', 'faults']], 'Replicas that have stopped because of a fault.', { ...BAD_ABOVE_ZERO, width: 4 }),
      numbers('Proofs that members lie', 'none', [['sum(quorate_recorded_equivocations{$vsel}) + sum(quorate_peer_evidence{$sel})', 'proofs']], 'From the disks: a restart does not silence them.', { ...BAD_ABOVE_ZERO, width: 4 }),
      numbers('Changes that wait for an owner', 'none', [['sum(quorate_approvals_waiting{$vsel})', 'waiting']], '`vat approvals` lists them.', { ...BAD_ABOVE_ZERO, width: 4 }),
      numbers('Alerts', 'none', [['count(ALERTS{alertstate="firing",severity=~"page|ticket"}) or vector(0)', 'firing']], '', { ...BAD_ABOVE_ZERO, width: 4 }),
      numbers('Vats', 'none', [['count(count by (vat_id) (quorate_vat_info{$vsel}))', 'vats']], '', { width: 4 }),
      numbers('Margin: how many members may be lost', 'none', [['min by (vat) (quorate_spare_members{$vsel})', '{{vat}}']], 'Members that can be reached less those that are needed, as the host sees it that sees least. Below 0 the vat stands still.', MARGIN),
      states('Role of each replica', [['max by (host, vat) ((quorate_raft_role{$vsel,role="leader"} == 1) * 3 or (quorate_raft_role{$vsel,role="follower"} == 1) * 2 or (quorate_raft_role{$vsel,role=~"candidate|learner|starting|leaving"} == 1) or (quorate_raft_role{$vsel,role=~"stopped|faulted|removed"} == 1) * 0)', '{{vat}} at {{host}}']], '', [[0, 'out', 'red'], [1, 'on its way', 'orange'], [2, 'follower', 'green'], [3, 'leader', 'blue']]),
      table('Builds', [['max by (host, version, commit, profile, wasmtime) (quorate_build_info{$sel})', '']]),
      table('Vats', [['max by (host, vat, vat_id, epoch, bundle, image) (quorate_vat_info{$vsel})', '']], 'Two hosts may call one vat by two names: the id tells.'),
    ]],
    ['Service', [
      lines('Deliveries', 'ops', [['max by (vat) (' + rate('quorate_deliveries_total') + ')', '{{vat}}']], 'Messages executed. All replicas execute the same, so the fastest is shown.'),
      lines('From proposing a command to its result', 's', percentiles('quorate_propose_seconds', 'host, vat', '{{vat}} at {{host}}')),
      lines('From executing a block to its certificate', 's', percentiles('quorate_certify_seconds', 'host, vat', '{{vat}} at {{host}}'), 'Nobody hears what a block said before it is certified.'),
      lines('Calls of clients', 'ops', [['sum by (vat, outcome) (' + rate('quorate_client_slices_total') + ')', '{{vat}} {{outcome}}']], 'Slices from clients and strangers: one may bring several calls.'),
      lines('Proposals by outcome', 'ops', [['sum by (vat, outcome) (' + rate('quorate_proposals_total') + ')', '{{vat}} {{outcome}}']]),
      lines('Deliveries undone', 'ops', [['max by (vat, limit) (' + rate('quorate_rolled_back_deliveries_total') + ')', '{{vat}}: {{limit}}']], 'They reached a limit.'),
      lines('Errors on the console', 'ops', [['max by (vat, level) (' + rate('quorate_console_lines_total', 'level=~"warn|error"') + ')', '{{vat}} {{level}}']]),
    ]],
    ['Between vats', [
      lines('Messages that peers have not acknowledged', 'none', [['max by (vat, peer) (quorate_unacknowledged_messages{$vsel})', '{{vat}} to {{peer}}'], ['max by (vat) (quorate_unacknowledged_limit_messages{$vsel})', 'limit of {{vat}}']], 'Above the limit sends are rejected.'),
      lines('Age of the oldest of them', 's', [['max by (vat, peer) (quorate_oldest_unacknowledged_seconds{$vsel})', '{{vat}} to {{peer}}']]),
      lines('What peers make the vat keep', 'bytes', [['max by (vat, peer) (quorate_kept_bytes{$vsel})', '{{vat}} for {{peer}}']]),
      lines('Streams that are broken', 'none', [['max by (vat) (quorate_broken_streams{$vsel})', '{{vat}}']]),
    ]],
    ['Resources', [
      lines('Heap', 'percentunit', [['max by (vat) (quorate_heap_bytes{$vsel} / quorate_heap_limit_bytes{$vsel})', '{{vat}}']], 'Share of `memory_mb`. It never shrinks.', { max: 1 }),
      lines('Memory of the process', 'bytes', [['process_resident_memory_bytes{job="quorate",$sel}', '{{host}}']]),
      lines('Processor', 'none', [['rate(process_cpu_seconds_total{job="quorate",$sel}[$__rate_interval])', '{{host}}']], 'Cores.'),
      lines('Room on the disk', 'bytes', [['quorate_disk_free_bytes{$sel}', '{{host}}'], ['quorate_disk_limit_bytes{$sel}', '{{limit}} limit of {{host}}']]),
      lines('fsync', 's', percentiles('quorate_store_sync_seconds', 'host', '{{host}}'), 'Each block waits for one.'),
      lines('Connections', 'none', [['quorate_connected_peers{$sel}', '{{host}}']]),
    ]],
  ],
};

const internals = {
  uid: 'quorate-internals',
  title: 'Quorate: internals',
  rows: [
    ['Agreement', [
      lines('Committed, not executed', 'none', [['quorate_committed_block{$vsel} - quorate_applied_block{$vsel}', '{{vat}} at {{host}}']]),
      lines('Executed, not certified', 'none', [['quorate_uncertified_statements{$vsel}', '{{vat}} at {{host}}']], 'Statements that wait for signatures.'),
      lines('Age of the oldest statement without a certificate', 's', [['quorate_oldest_uncertified_seconds{$vsel}', '{{vat}} at {{host}}']]),
      lines('Blocks', 'ops', [['max by (vat) (' + rate('quorate_blocks_total') + ')', '{{vat}}']]),
      lines('Terms and changes of the leader', 'none', [['max by (vat) (changes(quorate_raft_term{$vsel}[$__rate_interval]))', 'terms of {{vat}}'], ['max by (vat) (increase(quorate_leader_changes_total{$vsel}[$__rate_interval]))', 'leaders of {{vat}}']]),
      lines('Complaints of the leader, and leaders left', 'ops', [[rate('quorate_complaints_total'), '{{vat}}: complaints of {{host}}'], [rate('quorate_leaders_left_total'), '{{vat}}: left by {{host}}']]),
      lines('Commands refused when they were applied', 'ops', [['max by (vat) (' + rate('quorate_refused_commands_total') + ')', '{{vat}}']], 'A lying leader shows here.'),
      lines('From appending to the log to its sync', 's', percentiles('quorate_log_flush_seconds', 'host, vat', '{{vat}} at {{host}}')),
    ]],
    ['Members, as each host sees them', [
      states('Connected', [[`quorate_member_connected{$vsel} ${NAMED}`, '{{vat}}: {{host}} sees {{name}}']], '', [[0, 'no', 'red'], [1, 'yes', 'green']]),
      lines('Behind the leader', 'none', [[`quorate_member_lag_blocks{$vsel} ${NAMED}`, '{{vat}}: {{name}}']], 'Blocks. Known to the leader alone.'),
      lines('Not signed', 'none', [[`(quorate_certified_block{$vsel} - on (instance, vat) group_right quorate_member_signed_block{$vsel}) ${NAMED}`, '{{vat}}: {{name}}']], 'How far a member\'s newest signature is behind the newest certificate. In vats with more than 7 members only some members see all signatures.'),
      lines('Round trip', 's', [[`quorate_member_round_trip_seconds{$vsel} ${NAMED}`, '{{vat}}: {{host}} to {{name}}']]),
      lines('Not heard of for', 's', [[`(time() - (quorate_member_last_seen_timestamp_seconds{$vsel} > 0)) ${NAMED}`, '{{vat}}: {{host}} of {{name}}']], 'Followers of an idle vat have nothing to say to each other.'),
      lines('Signature shares', 'ops', [[rate('quorate_signature_shares_received_total'), '{{vat}} to {{host}}'], [rate('quorate_signature_shares_refused_total'), '{{vat}} refused by {{host}}']]),
    ]],
    ['Execution', [
      lines('Busy', 'percentunit', [['host_vat:quorate_executing:ratio_5m{$vsel}', '{{vat}} at {{host}}']], 'Share of the time that the thread which executes the vat is busy.'),
      heat('Deliveries by time', 's', [['sum by (le) (rate(quorate_crank_seconds_bucket{$vsel}[$__rate_interval]))', '{{le}}']]),
      heat('Deliveries by fuel', 'none', [['sum by (le) (rate(quorate_crank_fuel_bucket{$vsel}[$__rate_interval]))', '{{le}}']]),
      lines('Block', 's', percentiles('quorate_block_seconds', 'host, vat', '{{vat}} at {{host}}')),
      lines('Deliveries in a block', 'none', percentiles('quorate_block_deliveries', 'host, vat', '{{vat}} at {{host}}')),
      lines('Commands that had to wait', 'ops', [['max by (vat) (' + rate('quorate_waited_commands_total') + ')', '{{vat}}']]),
      lines('Fuel ahead', 'none', [['max by (vat) (quorate_fuel_ahead{$vsel})', '{{vat}}'], ['max by (vat) (quorate_fuel_limit{$vsel})', 'limit of a delivery of {{vat}}']]),
    ]],
    ['Log and checkpoints', [
      lines('Log', 'none', [['quorate_log_blocks{$vsel}', '{{vat}} at {{host}}']], 'Blocks. It is cut at certified checkpoints.'),
      lines('Age of the certified checkpoint', 's', [['time() - (quorate_certified_checkpoint_timestamp_seconds{$vsel} > 0)', '{{vat}} at {{host}}']]),
      lines('Checkpoint', 's', percentiles('quorate_checkpoint_seconds', 'host, vat', '{{vat}} at {{host}}')),
      lines('Size of the newest checkpoint', 'bytes', [['max by (vat, part) (quorate_checkpoint_bytes{$vsel})', '{{vat}} {{part}}']]),
      lines('Checkpoint on its way here', 'none', [['quorate_snapshot_chunks{$vsel}', '{{vat}} to {{host}}: {{state}}']], 'Chunks, while a member that joins or was away fetches the state.'),
      lines('Bytes of checkpoints between members', 'Bps', [[rate('quorate_snapshot_sent_bytes_total'), '{{vat}} from {{host}}'], [rate('quorate_snapshot_received_bytes_total'), '{{vat}} to {{host}}']]),
      lines('Time of the log', 's', [['quorate_log_time_overdue_seconds{$vsel}', '{{vat}} at {{host}}']], 'For how long a timer has been due.'),
    ]],
    ['Database', [
      lines('Size by family', 'bytes', [['sum by (host, family) (quorate_store_bytes{$sel})', '{{family}} of {{host}}'], ['quorate_store_wal_bytes{$sel}', 'write-ahead log of {{host}}']]),
      lines('What each vat takes', 'bytes', [['sum by (host, vat) (quorate_vat_disk_bytes{$vsel})', '{{vat}} at {{host}}']]),
      lines('Compaction', 'bytes', [['quorate_store_pending_compaction_bytes{$sel}', 'pending of {{host}}']]),
      lines('Compactions and flushes that run', 'none', [['quorate_store_running_compactions{$sel}', 'compactions of {{host}}'], ['quorate_store_running_flushes{$sel}', 'flushes of {{host}}']]),
      lines('Writes held back', 'Bps', [['quorate_store_delayed_write_bytes_per_second{$sel}', '{{host}}'], ['quorate_store_writes_stopped{$sel}', 'stopped at {{host}}']]),
      lines('Memory', 'bytes', [['quorate_store_block_cache_bytes{$sel}', 'blocks of {{host}}'], ['quorate_store_memory_tables_bytes{$sel}', 'memory tables of {{host}}']]),
      heat('fsync', 's', [['sum by (le) (rate(quorate_store_sync_seconds_bucket{$sel}[$__rate_interval]))', '{{le}}']]),
      lines('Reading for damage', 'Bps', [[host_rate('quorate_scrub_read_bytes_total'), '{{host}}']]),
    ]],
    ['Network', [
      lines('Bytes', 'Bps', [['sum by (host, purpose, direction) (' + host_rate('quorate_net_bytes_total') + ')', '{{host}} {{purpose}} {{direction}}']]),
      lines('Rejected', 'ops', [['sum by (host, purpose, reason) (' + host_rate('quorate_net_rejected_total') + ')', '{{host}} {{purpose}} {{reason}}']]),
      lines('Requests without an answer', 'ops', [['sum by (host, purpose) (' + host_rate('quorate_net_requests_lost_total') + ')', '{{host}} {{purpose}}']]),
      lines('Connections that failed', 'ops', [[host_rate('quorate_dial_failures_total'), 'by {{host}}'], [host_rate('quorate_inbound_failures_total'), 'to {{host}}']]),
      lines('Slices shipped', 'ops', [['sum by (vat, outcome) (' + rate('quorate_slices_shipped_total') + ')', '{{vat}} {{outcome}}']]),
      lines('Slices received', 'ops', [['sum by (vat, outcome) (' + rate('quorate_slices_received_total') + ')', '{{vat}} {{outcome}}']]),
    ]],
    ['Process', [
      lines('Runtime', 'percentunit', [['rate(quorate_runtime_busy_seconds_total{$sel}[$__rate_interval]) / quorate_runtime_threads{$sel}', '{{host}}']], 'Share of the time that its threads are busy.'),
      lines('Tasks', 'none', [['quorate_runtime_tasks{$sel}', '{{host}}'], ['quorate_runtime_waiting_tasks{$sel}', 'waiting at {{host}}']]),
      lines('Open files', 'none', [['process_open_fds{job="quorate",$sel}', '{{host}}'], ['process_max_fds{job="quorate",$sel}', 'limit of {{host}}']]),
      lines('Threads', 'none', [['process_threads{job="quorate",$sel}', '{{host}}']]),
    ]],
  ],
};

const datasource = { type: 'prometheus', uid: '${datasource}' };
const spelled = (query) => query.replaceAll('$vsel', VSEL).replaceAll('$sel', SEL);

const variable = (name, query) => ({
  name, type: 'query', datasource, query: { query, refId: name }, definition: query, refresh: 2,
  includeAll: true, multi: true, allValue: '.*', current: { selected: true, text: ['All'], value: ['$__all'] }, sort: 1,
});

const annotation = (name, expr, text, color) => ({
  name, datasource, enable: true, iconColor: color, target: { refId: 'Anno', expr: spelled(expr), interval: '30s' }, titleFormat: name, textFormat: text,
});

function panel(id, { type, title, unit, queries, description, steps, max, mappings }, gridPos) {
  const table = type === 'table';
  const targets = queries.map(([expr, legendFormat], place) => ({
    refId: String.fromCharCode(65 + place), datasource, expr: spelled(expr), legendFormat,
    ...(table ? { format: 'table', instant: true } : {}), ...(type === 'heatmap' ? { format: 'heatmap' } : {}),
  }));
  const thresholds = { mode: 'absolute', steps: (steps ?? [[null, 'green']]).map(([value, color]) => ({ value, color })) };
  const values = Object.fromEntries((mappings ?? []).map(([value, text, color], index) => [value, { text, color, index }]));
  const defaults = { unit, thresholds, mappings: mappings ? [{ type: 'value', options: values }] : [], ...(max ? { min: 0, max } : {}) };
  const options = {
    timeseries: { legend: { displayMode: 'list', placement: 'bottom', showLegend: true, calcs: [] }, tooltip: { mode: 'multi', sort: 'desc' } },
    stat: { reduceOptions: { calcs: ['lastNotNull'] }, colorMode: 'background', graphMode: 'none', textMode: 'value_and_name' },
    'state-timeline': { mergeValues: true, showValue: 'auto' },
    heatmap: { calculate: false, yAxis: { unit } },
    table: {},
  }[type];
  return {
    id, type, title, description, datasource, gridPos, targets, options, fieldConfig: { defaults, overrides: [] },
    ...(table ? { transformations: [{ id: 'organize', options: { excludeByName: { Time: true, Value: true } } }] } : {}),
  };
}

function dashboard({ uid, title, rows }) {
  let id = 0, y = 0;
  const panels = [];
  for (const [name, inside] of rows) {
    panels.push({ id: ++id, type: 'row', title: name, collapsed: false, gridPos: { x: 0, y: y++, w: 24, h: 1 }, panels: [] });
    let x = 0, height = 0;
    for (const each of inside) {
      const w = each.width ?? 12;
      const h = each.type === 'stat' && each.width ? 4 : 8;
      if (x + w > 24) [x, y, height] = [0, y + height, 0];
      panels.push(panel(++id, each, { x, y, w, h }));
      x += w;
      height = Math.max(height, h);
    }
    y += height;
  }
  return {
    uid, title, tags: ['quorate'], schemaVersion: 39, version: 1, editable: true, refresh: '10s', timezone: 'browser',
    time: { from: 'now-1h', to: 'now' }, graphTooltip: 1,
    links: [{ type: 'dashboards', title: 'Quorate', tags: ['quorate'], asDropdown: false, icon: 'external link', tooltip: '', targetBlank: false, keepTime: true, includeVars: true }],
    annotations: { list: [
      annotation('other members', 'changes(quorate_epoch{$vsel}[1m]) > 0', '{{vat}} at {{host}}', 'orange'),
      annotation('host started', 'changes(process_start_time_seconds{job="quorate",$sel}[1m]) > 0', '{{host}}', 'blue'),
    ] },
    templating: { list: [
      { name: 'datasource', type: 'datasource', query: 'prometheus', refresh: 1 },
      variable('host', 'label_values(quorate_build_info, host)'),
      variable('vat', 'label_values(quorate_vat_info{host=~"$host"}, vat)'),
    ] },
    panels,
  };
}

/** Units of the dashboards that Grafana knows. It shows others behind the number, unchanged. */
const UNITS = ['none', 's', 'ops', 'bytes', 'Bps', 'percentunit'];

/** What Grafana would take and show wrongly. */
function faults({ title, panels, templating }) {
  const found = [];
  const variables = new Set(templating.list.map(({ name }) => name));
  const seen = new Set();
  panels.forEach((panel, place) => {
    const say = (fault) => found.push(`${title}: panel "${panel.title}" ${fault}`);
    if (seen.has(panel.id)) say(`has the id ${panel.id} of another one`);
    seen.add(panel.id);
    const { x, y, w, h } = panel.gridPos;
    if (x < 0 || x + w > 24) say('is wider than the page');
    for (const { title: other, gridPos: at } of panels.slice(0, place)) {
      if (x < at.x + at.w && at.x < x + w && y < at.y + at.h && at.y < y + h) say(`lies over "${other}"`);
    }
    if (panel.type === 'row') return;
    if (!UNITS.includes(panel.fieldConfig.defaults.unit)) say(`has the unit ${panel.fieldConfig.defaults.unit}`);
    if (panel.targets.length === 0) say('has no query');
    for (const { expr, legendFormat, datasource: from } of panel.targets) {
      if (from.uid !== '${datasource}') say('has another datasource than the one that is chosen');
      if (panel.type === 'timeseries' && !legendFormat) say(`has no legend for ${expr}`);
      for (const [, name] of expr.matchAll(/\$(\w+)/g)) {
        if (!variables.has(name) && name !== '__rate_interval') say(`has the unknown variable $${name}`);
      }
    }
  });
  return found;
}

let stale = false;
for (const each of [overview, internals]) {
  for (const fault of faults(dashboard(each))) {
    console.error(fault);
    stale = true;
  }
  const file = new URL(`dashboards/${each.uid}.json`, import.meta.url);
  const text = JSON.stringify(dashboard(each), null, 1) + '\n';
  if (process.argv.includes('--check')) {
    let now = '';
    try { now = readFileSync(file, 'utf8'); } catch { /* not made yet */ }
    if (now !== text) {
      console.error(`${file.pathname} is not what dashboards.mjs makes: run node ${new URL(import.meta.url).pathname}`);
      stale = true;
    }
  } else {
    writeFileSync(file, text);
  }
}
process.exitCode = stale ? 1 : 0;
