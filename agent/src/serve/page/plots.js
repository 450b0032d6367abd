// A session's last quarter of an hour, or its last day: figures over one time, with one crosshair for all of them.
import { el, replace, setText } from './elements.js';
import * as units from './units.js';

const [WIDTH, HEIGHT] = [600, 130];
/** So many steps are drawn at least: what a young session has not done yet is empty. */
const LEAST = 24;

/** What is drawn together: a figure's name, what it is called, and its look. */
const PLOTS = [
  { title: 'CPUs', form: units.cpus, lines: [['cpus', 'in use', 'a'], ['contention', 'waits for others', 'b'], ['throttled_own', 'throttled', 'c']] },
  { title: 'Wait for a CPU', form: units.time, lines: [['wait_p99', 'p99', 'a'], ['wait_p50', 'p50', 'b']] },
  { title: 'Waits for a CPU by length', heat: ['waits_to_1ms', 'waits_to_4ms', 'waits_to_16ms', 'waits_to_62ms', 'waits_longer'], names: ['≤ 1 ms', '≤ 4 ms', '≤ 16 ms', '≤ 62 ms', 'longer'], form: (value) => `${value < 10 ? value.toPrecision(2) : value.toFixed(0)}/s` },
  { title: 'Round trip of clients', form: units.time, lines: [['rtt_p95', 'p95', 'a'], ['rtt_p50', 'p50', 'b']] },
  { title: 'Lost on the way', form: units.percent, lines: [['retransmits', 'segments sent again', 'a']] },
  { title: 'Network', form: (value) => `${units.bytes(value)}/s`, lines: [['sent_bytes', 'sent', 'a'], ['received_bytes', 'received', 'b']] },
  { title: 'Memory', form: units.bytes, lines: [['memory_bytes', 'in use', 'a']] },
  { title: 'Reclaim and slow disk', form: units.percent, lines: [['reclaim_stall', 'threads that reclaim', 'a'], ['slow_block_io', 'requests over 62 ms', 'b']] },
  { title: 'GPUs', form: units.cpus, lines: [['gpus', 'in use', 'a'], ['encoders', 'encoders', 'b'], ['decoders', 'decoders', 'c']] },
  { title: 'Frames a second', form: units.count, lines: [['fps', 'encoded', 'a']] },
  { title: 'Time to encode a frame', form: units.time, lines: [['encoder_latency', 'slowest encoder', 'a']] },
];

export function drawPlots(parent, steps) {
  if (!steps) {
    replace(parent, [el('p', {}, 'The agent keeps no history of this session.')]);
    return;
  }
  const has = (plot) => (plot.heat ?? plot.lines.map(([name]) => name)).some((name) => steps.figures[name]);
  const wanted = PLOTS.filter(has);
  if (wanted.length === 0) {
    replace(parent, [el('p', {}, 'The first step is not over yet.')]);
    return;
  }
  const titles = wanted.map(({ title }) => title).join();
  if (parent.dataset.titles !== titles) {
    parent.dataset.titles = titles;
    parent.replaceChildren(...wanted.map((plot) => build(plot, parent)));
  }
  parent.steps = steps;
  wanted.forEach((plot, at) => drawPlot(parent.children[at], plot, steps));
}

function build(plot, parent) {
  const svg = el('svg:svg', { class: 'plot', viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img' }, [
    el('svg:g'), el('svg:line', { class: 'cross', y1: 0, y2: HEIGHT, visibility: 'hidden' }),
  ]);
  const figure = el('figure', {}, [el('figcaption', {}, [el('strong', {}, plot.title), el('span', { class: 'faint' })]), svg]);
  // One moment for all plots.
  const point = (event) => {
    const { left, width } = svg.getBoundingClientRect();
    crosshair(parent, Math.min(Math.max((event.clientX - left) / width, 0), 1));
  };
  svg.addEventListener('pointermove', point);
  svg.addEventListener('pointerdown', point);
  svg.addEventListener('pointerleave', () => crosshair(parent, null));
  return figure;
}

function crosshair(parent, share) {
  parent.share = share;
  for (const line of parent.querySelectorAll('.cross')) {
    line.setAttribute('visibility', share === null ? 'hidden' : 'visible');
    if (share !== null) for (const end of ['x1', 'x2']) line.setAttribute(end, share * WIDTH);
  }
  const has = (plot) => (plot.heat ?? plot.lines.map(([name]) => name)).some((name) => parent.steps.figures[name]);
  PLOTS.filter(has).forEach((plot, at) => say(parent.children[at], plot, parent.steps, share));
}

/** How many steps are drawn. */
const span = (steps) => Math.max(LEAST, ...Object.values(steps.figures).map(({ length }) => length));

/** Of so many steps the last is at the right. */
const place = (steps, length, at) => WIDTH * (1 - (length - 1 - at) / (span(steps) - 1));

function drawPlot(figure, plot, steps) {
  const group = figure.querySelector('g');
  replace(group, plot.heat ? heat(plot, steps) : lines(plot, steps, figure));
  say(figure, plot, steps, figure.parentElement?.share ?? null);
}

function lines(plot, steps, figure) {
  const known = plot.lines.filter(([name]) => steps.figures[name]);
  const largest = Math.max(...known.flatMap(([name]) => steps.figures[name]).filter((value) => value !== null), 0);
  figure.most = largest;
  const most = Math.max(largest, 1e-9) * 1.08;
  return known.map(([name, , look]) => {
    const values = steps.figures[name];
    let path = '';
    let open = false;
    values.forEach((value, at) => {
      if (value === null) {
        open = false;
        return;
      }
      const [x, y] = [place(steps, values.length, at), HEIGHT * (1 - value / most)];
      path += `${open ? 'L' : 'M'}${x.toFixed(1)} ${y.toFixed(1)}`;
      // One alone is a dot.
      if (!open) path += 'h0.1';
      open = true;
    });
    return el('svg:path', { class: `line ${look}`, d: path });
  });
}

/** The darker, the more waits there were; by the logarithm, because there are few long ones. */
function heat(plot, steps) {
  const all = plot.heat.flatMap((name) => steps.figures[name] ?? []).filter((value) => value > 0);
  const most = Math.log1p(Math.max(...all, 1e-9) * 100);
  const row = HEIGHT / plot.heat.length;
  const width = WIDTH / (span(steps) - 1) + 0.3;
  return plot.heat.flatMap((name, number) => (steps.figures[name] ?? []).flatMap((value, at, values) => {
    if (!(value > 0)) return [];
    const [x, y] = [place(steps, values.length, at) - width / 2, HEIGHT - (number + 1) * row];
    const dark = (Math.log1p(value * 100) / most).toFixed(2);
    return [el('svg:rect', { class: 'heat', x: x.toFixed(1), y: y.toFixed(1), width: width.toFixed(2), height: row.toFixed(1), 'fill-opacity': dark })];
  }));
}

/** How many steps before the last the crosshair is. */
const stepsBack = (steps, share) => (share === null ? 0 : Math.round((1 - share) * (span(steps) - 1)));

/** What the figures are at the crosshair, otherwise at the end; also for those who do not see the drawing. */
function say(figure, plot, steps, share) {
  const names = plot.heat ? plot.heat.map((name, at) => [name, plot.names[at]]) : plot.lines;
  const parts = [];
  for (const [name, called] of names) {
    const values = steps.figures[name];
    if (!values) continue;
    const back = stepsBack(steps, share);
    const value = values[values.length - 1 - back];
    if (plot.heat && !(value > 0)) continue;
    parts.push(`${called} ${units.known(value, plot.form)}`);
  }
  const ago = stepsBack(steps, share) * steps.step_seconds;
  const when = new Date((steps.end_time - ago) * 1000).toLocaleTimeString();
  const minutes = Math.round((span(steps) * steps.step_seconds) / 60);
  const range = `of ${minutes < 120 ? `${minutes} min` : `${Math.round(minutes / 60)} h`}${figure.most ? `, up to ${plot.form(figure.most)}` : ''}`;
  const said = `${parts.join(', ') || '-'} at ${when} (${range})`;
  setText(figure.querySelector('span'), said);
  figure.querySelector('svg').setAttribute('aria-label', `${plot.title}: ${said}`);
}
