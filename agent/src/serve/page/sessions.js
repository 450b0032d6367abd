// The table of sessions: its columns, and which sessions are shown in which order.
import * as units from './units.js';

const gpus = (session, figure) => {
  const values = session.gpus.map(figure);
  return values.length === 0 || values.includes(null) ? null : values.reduce((one, other) => one + other);
};

/** A column has a name or a figure; one with a limit says when that is passed. */
export const COLUMNS = [
  { key: 'session', heading: 'Session', name: (s) => s.session },
  { key: 'namespace', heading: 'Namespace', name: (s) => s.namespace, class: 'optional' },
  { key: 'template', heading: 'Template', name: (s) => s.template, class: 'optional' },
  { key: 'phase', heading: 'Phase', name: (s) => s.phase ?? 'Ended' },
  { key: 'findings', heading: 'Held back by', name: (s) => s.findings?.[0]?.said ?? '', class: 'optional' },
  { key: 'age', heading: 'Age', figure: (s, now) => (s.start_time === null ? null : (s.end_time ?? now) - s.start_time), form: units.time },
  { key: 'trend', heading: 'Trend', name: () => '', class: 'optional' },
  { key: 'cpu', heading: 'CPU', figure: (s) => s.cpu_ratio, form: units.cpus },
  { key: 'wait-p99', heading: 'Wait p99', figure: (s) => s.runqueue_wait.recent?.p99 ?? null, form: units.time, limit: 0.02 },
  { key: 'rtt-p95', heading: 'RTT p95', figure: (s) => s.tcp?.inbound.rtt_minute?.p95 ?? null, form: units.time, limit: 0.1 },
  { key: 'clients', heading: 'Clients', figure: (s) => s.clients, form: units.count, class: 'optional' },
  { key: 'memory', heading: 'Memory', figure: (s) => s.memory_bytes?.current ?? null, form: units.bytes, class: 'optional' },
  { key: 'gpu', heading: 'GPU', figure: (s) => gpus(s, (gpu) => gpu.utilization.sm), form: units.percent, class: 'optional' },
  { key: 'idle', heading: 'Unused for', figure: (s) => s.idle_seconds, form: units.time, class: 'optional' },
].map((column) => (column.figure ? { ...column, class: `figure ${column.class ?? ''}` } : column));

/** Those that are wanted, in order: figures from the largest, names by the alphabet; what is not known comes last. */
export function shown(sessions, { search, phase, sort, reversed }) {
  const wanted = search.toLowerCase();
  const names = (s) => `${s.session}\n${s.namespace}\n${s.template}`.toLowerCase();
  const column = COLUMNS.find(({ key }) => key === sort);
  const now = Date.now() / 1000;
  const order = (one, other) => {
    const [a, b] = [one, other].map((s) => (column.figure ? column.figure(s, now) : column.name(s)));
    const [unknown, another] = [a, b].map((value) => value === null || value === undefined || value === '');
    if (unknown !== another) return unknown ? 1 : -1;
    const first = unknown ? 0 : column.figure ? b - a : a.localeCompare(b);
    return (reversed ? -first : first) || one.session.localeCompare(other.session);
  };
  return sessions.filter((s) => names(s).includes(wanted) && (!phase || (s.phase ?? 'Ended') === phase)).sort(order);
}

/** How many are in each phase. */
export function phases(sessions) {
  const counts = new Map();
  for (const { phase } of sessions) counts.set(phase ?? 'Ended', (counts.get(phase ?? 'Ended') ?? 0) + 1);
  return [...counts];
}

/** The three that are held back most, each by its first cause of the last minute. */
export function worst(sessions) {
  const first = (session) => (session.findings ?? []).find(({ window, follows }) => window === 'minute' && !follows);
  return sessions
    .filter((session) => session.phase !== null && first(session))
    .map((session) => ({ session, finding: first(session) }))
    .sort((one, other) => weight(other.finding) - weight(one.finding))
    .slice(0, 3);
}

const weight = ({ value, limit, share_of_time: often }) => often * Math.min(value / limit, 10);
