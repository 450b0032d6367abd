// The status page: what the agent says of its sessions, live. It asks the agent it came from and nobody else, and puts
// all names on the page as text.
import { el, text, replace, setText } from './elements.js';
import * as units from './units.js';
import { COLUMNS, phases, shown, worst } from './sessions.js';
import { drawPlots } from './plots.js';

/** Between two questions, milliseconds: the agent takes a sample each second. */
const PERIOD = 2000;
/** Values of a sparkline. */
const SPARK = 60;

const main = document.getElementById('main');
const state = document.getElementById('state');
const node = document.getElementById('node');

const view = {
  report: null,
  history: null,
  ended: null,
  processes: null,
  sort: 'wait-p99',
  reversed: false,
  search: '',
  phase: '',
  ring: 'minutes',
  /** CPUs in use of late, by the session's id. */
  sparks: new Map(),
};

async function ask(path) {
  const answer = await fetch(path, { headers: { accept: 'application/json' }, cache: 'no-store' });
  if (!answer.ok) {
    const said = await answer.text();
    let why = `status ${answer.status}`;
    try { why = JSON.parse(said).error ?? why; } catch { why = said.split('\n')[0] || why; }
    throw new Error(why);
  }
  return answer.json();
}

/** What the address asks for: `#`, `#session/ID`, `#ended`, `#agent`. */
function route() {
  const [, name, id] = /^#(session)\/([0-9a-f]{32})$/.exec(location.hash) ?? [];
  if (name) return { name, id };
  return { name: /^#(ended|agent)$/.exec(location.hash)?.[1] ?? 'list' };
}

let asked = 0;
async function refresh() {
  const mine = ++asked;
  const { name, id } = route();
  try {
    const report = await ask('api/v1/sessions');
    const history = name === 'session' ? await ask(`api/v1/sessions/${id}/history`).catch(() => null) : null;
    const ended = name === 'ended' ? await ask('api/v1/ended') : null;
    // A look at all threads: only while somebody reads it.
    const looks = name === 'session' && main.querySelector('.processes')?.open;
    const processes = looks ? await ask(`api/v1/sessions/${id}/processes`).catch((error) => ({ error: error.message })) : null;
    if (mine !== asked) return;
    Object.assign(view, { report, history, ended, processes });
    remember(report.sessions);
    setText(state, '');
  } catch (error) {
    if (mine !== asked) return;
    const since = new Date().toLocaleTimeString();
    if (!state.textContent) setText(state, `The agent does not answer (${error.message}) since ${since}. It is asked again; what is shown is older.`);
  }
  draw();
}

function remember(sessions) {
  const there = new Set();
  for (const { id, cpu_ratio } of sessions) {
    there.add(id);
    const spark = view.sparks.get(id) ?? [];
    spark.push(cpu_ratio);
    if (spark.length > SPARK) spark.shift();
    view.sparks.set(id, spark);
  }
  for (const id of view.sparks.keys()) if (!there.has(id)) view.sparks.delete(id);
}

function draw() {
  if (!view.report) return;
  const { name, id } = route();
  for (const link of document.querySelectorAll('nav a')) {
    const own = link.getAttribute('href') === (name === 'agent' || name === 'ended' ? `#${name}` : '#');
    if (own) link.setAttribute('aria-current', 'page'); else link.removeAttribute('aria-current');
  }
  const title = view.report.sessions.find((session) => session.id === id)?.session;
  document.title = title ? `${title} · Sessionscope` : 'Sessionscope';
  drawNode();
  const drawn = main.dataset.view;
  const wanted = name === 'session' ? `session/${id}` : name;
  if (drawn !== wanted) {
    main.dataset.view = wanted;
    main.replaceChildren();
  }
  if (name === 'session') drawSession(id);
  else if (name === 'agent') drawAgent();
  else if (name === 'ended') drawEnded();
  else drawList();
  if (drawn !== undefined && drawn !== wanted) main.focus();
}

function drawNode() {
  const { agent, sessions, gpus } = view.report;
  const cpus = sessions.reduce((sum, session) => sum + (session.cpu_ratio ?? 0), 0);
  const counts = phases(sessions).map(([phase, count]) => `${count} ${phase}`).join(', ');
  const parts = [`${sessions.length} sessions${counts ? `: ${counts}` : ''}`, `${units.cpus(cpus)} CPUs in use`];
  const busy = gpus.devices.map((gpu) => gpu.utilization.sm).filter((share) => share !== null);
  if (busy.length > 0) parts.push(`GPUs ${busy.map(units.percent).join(', ')}`);
  parts.push(`agent ${agent?.version ?? '-'}, Linux ${agent?.kernel ?? '-'}`);
  setText(node, parts.join(' · '));
}

function drawList() {
  if (!main.firstChild) buildList();
  const { sessions } = view.report;
  const held = worst(sessions);
  const list = main.querySelector('.worst');
  list.hidden = held.length === 0;
  main.querySelector('#worst').hidden = held.length === 0;
  replace(list, held.map(({ session, finding }) => el('li', {}, [
    el('a', { href: `#session/${session.id}` }, session.session), text(`: ${finding.said}`),
    el('br'), el('span', { class: 'faint' }, units.finding(finding)),
  ])));
  const rows = shown(sessions, view);
  setText(main.querySelector('#count'), rows.length === sessions.length ? `${rows.length} sessions` : `${rows.length} of ${sessions.length} sessions`);
  for (const header of main.querySelectorAll('th')) {
    const own = header.dataset.key === view.sort;
    const falls = COLUMNS.find(({ key }) => key === view.sort).figure !== undefined !== view.reversed;
    header.setAttribute('aria-sort', own ? (falls ? 'descending' : 'ascending') : 'none');
    setText(header.querySelector('span'), own ? (falls ? ' ▼' : ' ▲') : '');
  }
  drawRows(main.querySelector('tbody'), rows);
}

/** Rows are kept by their session: focus and selection stay where they are. */
function drawRows(body, sessions) {
  const kept = new Map([...body.rows].map((row) => [row.dataset.id, row]));
  const now = Date.now() / 1000;
  sessions.forEach((session, at) => {
    let row = kept.get(session.id);
    kept.delete(session.id);
    if (!row) {
      row = el('tr', {}, COLUMNS.map((column) => el('td', { class: column.class })));
      row.dataset.id = session.id;
      row.cells[0].append(el('a', { href: `#session/${session.id}` }));
    }
    COLUMNS.forEach((column, number) => drawCell(row.cells[number], column, session, now));
    if (body.rows[at] !== row) body.insertBefore(row, body.rows[at] ?? null);
  });
  for (const row of kept.values()) row.remove();
}

function drawCell(cell, column, session, now) {
  if (column.key === 'trend') {
    const points = view.sparks.get(session.id) ?? [];
    const most = Math.max(0.1, ...points.filter((value) => value !== null));
    const at = (value, place) => `${((SPARK - points.length + place) * 88 / (SPARK - 1)).toFixed(1)},${(18 - 16 * value / most).toFixed(1)}`;
    const line = points.flatMap((value, place) => (value === null ? [] : [at(value, place)])).join(' ');
    if (!cell.firstChild) {
      const label = { class: 'spark', viewBox: '0 0 88 20', 'aria-hidden': 'true', preserveAspectRatio: 'none' };
      cell.append(el('svg:svg', label, [el('svg:polyline', { class: 'a', fill: 'none', 'stroke-width': '1.4' })]));
    }
    cell.firstChild.firstChild.setAttribute('points', line);
    return;
  }
  const value = column.figure ? column.figure(session, now) : column.name(session);
  const said = column.figure ? units.known(value, column.form) : value || '-';
  setText(column.key === 'session' ? cell.firstChild : cell, said);
  cell.classList.toggle('over', column.limit !== undefined && value > column.limit);
}

function buildList() {
  const search = el('input', { type: 'search', id: 'search', value: view.search, placeholder: 'name, namespace, template' });
  search.addEventListener('input', () => { view.search = search.value; drawList(); });
  const phase = el('select', { id: 'phase' }, ['', 'Running', 'Idle', 'Starting', 'Pending', 'Terminating', 'Ended']
    .map((name) => el('option', { value: name }, name || 'every phase')));
  phase.value = view.phase;
  phase.addEventListener('change', () => { view.phase = phase.value; drawList(); });
  const headers = COLUMNS.map((column) => {
    const header = el('th', { scope: 'col', class: column.class });
    header.dataset.key = column.key;
    const button = el('button', { type: 'button' }, [text(column.heading), el('span', { 'aria-hidden': 'true' })]);
    button.addEventListener('click', () => {
      view.reversed = column.key === view.sort && !view.reversed;
      view.sort = column.key;
      drawList();
    });
    header.append(column.key === 'trend' ? text(column.heading) : button);
    if (column.key === 'trend') header.append(el('span'));
    return header;
  });
  main.append(
    el('h2', { id: 'worst' }, 'Held back most'), el('ul', { class: 'worst' }),
    el('div', { class: 'bar' }, [
      el('label', { for: 'search' }, ['Search', search]), el('label', { for: 'phase' }, ['Phase', phase]),
      el('span', { id: 'count', role: 'status' }),
    ]),
    el('div', { class: 'wide', tabindex: '0', role: 'region', 'aria-label': 'Sessions' }, [
      el('table', {}, [el('thead', {}, [el('tr', {}, headers)]), el('tbody')]),
    ]),
  );
}

function drawSession(id) {
  const session = view.report.sessions.find((one) => one.id === id);
  if (!session) {
    replace(main, [el('p', {}, 'The agent does not know this session, or not any more.'), el('p', {}, [el('a', { href: '#' }, 'All sessions')])]);
    return;
  }
  if (!main.querySelector('.plots')) buildSession();
  setText(main.querySelector('h2'), session.session);
  const names = [session.namespace, session.template, session.phase ?? `ended: ${session.end_reason ?? 'not known yet'}`];
  if (session.user) names.push(`of ${session.user}`);
  const begun = session.start_time ? `began ${new Date(session.start_time * 1000).toLocaleString()}` : '';
  setText(main.querySelector('#who'), [...names.filter(Boolean), begun].filter(Boolean).join(' · '));
  drawFindings(session);
  const by = session.preempted_by.slice(0, 5).map(({ session: name, count }) => `${name} (${units.count(count)} times)`);
  const facts = [
    ['waits for a CPU, p99 of 10 s', units.known(session.runqueue_wait.recent?.p99, units.time)],
    ['preempted most often by', by.join(', ') || '-'],
    ['CPU limit', units.known(session.cpu_limit, units.cpus)],
    ['memory, of its limit', `${units.known(session.memory_bytes?.current, units.bytes)}, ${units.known(session.memory_bytes?.limit, units.bytes)}`],
    ['clients', units.known(session.clients, units.count)],
    ['round trip, p95 of a minute', units.known(session.tcp?.inbound.rtt_minute?.p95, units.time)],
    ['processes, threads', `${units.known(session.processes, units.count)}, ${units.known(session.threads, units.count)}`],
    ['cgroup', session.cgroup],
  ];
  replace(main.querySelector('dl'), facts.flatMap(([name, value]) => [el('dt', {}, name), el('dd', {}, value)]));
  drawStart(session);
  drawProcesses();
  drawPlots(main.querySelector('.plots'), view.history?.[view.ring]);
}

function drawFindings(session) {
  const list = main.querySelector('.findings');
  if (!session.findings) return replace(list, [el('li', { class: 'calm' }, 'Not known: the agent keeps no history of it.')]);
  if (session.findings.length === 0) return replace(list, [el('li', { class: 'calm' }, 'Nothing: no figure of the last minute or of the last hour is over its limit.')]);
  return replace(list, session.findings.map((finding) => el('li', {}, [
    el('strong', {}, finding.said), text(` (the last ${finding.window}): ${units.finding(finding)}`),
    el('br'), text(finding.advice),
  ])));
}

function drawStart(session) {
  const steps = Object.entries(session.startup_seconds).filter(([, seconds]) => seconds !== null).sort((one, other) => one[1] - other[1]);
  main.querySelector('#start').hidden = steps.length === 0;
  const whole = Math.max(...steps.map(([, seconds]) => seconds), 0.001);
  replace(main.querySelector('.start'), steps.flatMap(([name, seconds]) => [
    el('span', {}, name.replaceAll('_', ' ')), el('span', { class: 'figure' }, units.time(seconds)),
    el('progress', { value: seconds, max: whole, 'aria-label': `${name.replaceAll('_', ' ')} after ${units.time(seconds)}` }),
  ]));
}

function buildSession() {
  const ring = el('select', { id: 'ring' }, [el('option', { value: 'minutes' }, '15 minutes'), el('option', { value: 'day' }, '24 hours')]);
  ring.value = view.ring;
  ring.addEventListener('change', () => { view.ring = ring.value; draw(); });
  const processes = el('details', { class: 'processes' }, [el('summary', {}, 'Processes'), el('div')]);
  processes.addEventListener('toggle', () => { if (processes.open) refresh(); });
  replace(main, [
    el('p', {}, [el('a', { href: '#' }, 'All sessions')]), el('h2'), el('p', { id: 'who', class: 'faint' }),
    el('h3', {}, 'Held back by'), el('ul', { class: 'findings' }),
    el('div', { class: 'bar' }, [el('label', { for: 'ring' }, ['Time', ring])]),
    el('div', { class: 'plots' }),
    el('div', { id: 'start' }, [el('h3', {}, 'Start'), el('div', { class: 'start' })]),
    el('h3', {}, 'Now'), el('dl'),
    processes,
  ]);
}

function drawProcesses() {
  if (!view.processes) return;
  const { error, processes, cut, window_seconds: seconds } = view.processes;
  const place = main.querySelector('.processes div');
  if (error) {
    replace(place, [el('p', {}, `Not known: ${error}`)]);
    return;
  }
  const rows = processes.map((process) => [
    process.command, `${process.pid}`, process.state, units.count(process.threads), units.known(process.cpu_ratio, units.cpus),
    units.known(process.waiting, units.cpus), units.time(process.cpu_seconds), units.bytes(process.memory_bytes),
  ]);
  const note = `Over ${units.time(seconds)}.${cut ? ' There are more than are looked at.' : ''}`;
  replace(place, [table(['Process', 'PID', 'State', 'Threads', 'CPUs', 'Waiting', 'CPU time', 'Memory'], rows), el('p', { class: 'faint' }, note)]);
}

function drawEnded() {
  if (!view.ended) return;
  const rows = view.ended.sessions.map((session) => {
    const held = session.findings?.[0];
    const why = [session.end_reason.replaceAll('_', ' '), session.why].filter(Boolean).join(': ');
    return [
      session.session, [session.namespace, session.template].filter(Boolean).join(' / '),
      units.known(session.end_time, (at) => new Date(at * 1000).toLocaleString()), units.known(session.duration_seconds, units.time),
      why, held ? held.said : '-', units.time(session.cpu_seconds), units.known(session.runqueue_wait_p99, units.time),
    ];
  });
  const none = el('p', {}, 'No session has ended since the agent began.');
  replace(main, [
    el('h2', {}, 'Ended'),
    rows.length === 0 ? none : table(['Session', 'Namespace / template', 'Ended', 'Lasted', 'Why', 'Held back by', 'CPU', 'Wait p99'], rows),
  ]);
}

function table(headings, rows) {
  return el('div', { class: 'wide', tabindex: '0', role: 'region', 'aria-label': headings[0] }, [el('table', { class: 'words' }, [
    el('thead', {}, [el('tr', {}, headings.map((heading) => el('th', { scope: 'col' }, heading)))]),
    el('tbody', {}, rows.map((row) => el('tr', {}, row.map((cell) => el('td', {}, cell))))),
  ])]);
}

function drawAgent() {
  const { agent } = view.report;
  if (!agent) return;
  const why = ({ up, reason }) => (up ? 'on' : `off: ${reason ?? 'not known'}`);
  const programs = agent.programs.map((program) => [
    program.name, why(program), program.required ? 'required' : 'optional', units.known(program.missed, units.count),
  ]);
  const lost = agent.sessions_overflowed > 0 ? `; ${units.count(agent.sessions_overflowed)} did not fit` : '';
  replace(main, [
    el('h2', {}, 'The agent'),
    el('dl', {}, [
      ['version', agent.version], ['kernel', agent.kernel], ['threads\u2019 state in', agent.task_state],
      ['began', units.known(agent.start_time, (at) => new Date(at * 1000).toLocaleString())],
      ['its own CPU time', units.known(agent.cpu_seconds, (seconds) => `${units.time(seconds)}, ${units.percent(seconds / Math.max(1, Date.now() / 1000 - agent.start_time))} of a CPU`)],
      ['its own memory', `${units.known(agent.resident_bytes, units.bytes)}, and ${units.bytes(agent.map_bytes)} of maps in the kernel`],
      ['lost', `${units.count(agent.events_lost)} events, ${units.count(agent.switches_unmeasured)} switches`],
      ['sessions', `${units.count(agent.sessions_tracked)} of ${units.count(agent.sessions_limit)} at most${lost}`],
      ['GPUs', view.report.gpus.up ? `driver ${view.report.gpus.driver_version ?? '-'}` : `not measured: ${view.report.gpus.reason ?? '-'}`],
    ].flatMap(([name, value]) => [el('dt', {}, name), el('dd', {}, value)])),
    el('h3', {}, 'Platforms'), table(['Platform', 'State'], agent.sources.map((source) => [source.name, why(source)])),
    el('h3', {}, 'Kernel programs'), table(['Program', 'State', 'Needed', 'Passed over'], programs),
  ]);
}

window.addEventListener('hashchange', () => { Object.assign(view, { history: null, ended: null, processes: null }); draw(); refresh(); });
/** Nobody looks at a page that is hidden. */
async function live() {
  if (!document.hidden) await refresh();
  setTimeout(live, PERIOD);
}
document.addEventListener('visibilitychange', () => { if (!document.hidden) refresh(); });
live();
