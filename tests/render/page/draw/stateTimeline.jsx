// The state timeline: a row for each series, a bar for each stretch of time in one state.

import { formattedValueToString, getFieldDisplayName } from '@grafana/data';
import { VizLayout, VizLegend } from '@grafana/ui';

import { textWidth, TimeAxis, TIME_HEIGHT } from './axes.jsx';

/** Stretches of one value; a point that is missing ends one. */
function stretches(time, value, step) {
  const found = [];
  value.values.forEach((state, index) => {
    const at = time.values[index] / 1000;
    const last = found.at(-1);
    if (state === null) return;
    if (last && last.state === state && at <= last.to + step / 2) last.to = at + step;
    else found.push({ state, from: at, to: at + step });
  });
  return found;
}

function rowsOf(frames, step) {
  return frames.flatMap((frame) => {
    const [time, ...values] = frame.fields;
    return values.filter(({ type }) => type === 'number').map((value) => ({
      name: getFieldDisplayName(value, frame, frames),
      display: value.display,
      stretches: stretches(time, value, step),
    }));
  });
}

/** The states that occur, each once. */
function legendItems(rows) {
  const states = new Map();
  for (const { display, stretches: all } of rows) {
    for (const { state } of all) {
      const shown = display(state);
      states.set(formattedValueToString(shown), shown.color);
    }
  }
  return [...states].map(([label, color]) => ({ label, color, yAxis: 1 }));
}

function Rows({ rows, model, times, width, height, theme }) {
  const { rowHeight = 0.9 } = model.options;
  const opacity = (model.fieldConfig.defaults.custom?.fillOpacity ?? 70) / 100;
  const left = Math.min(width / 2, Math.max(...rows.map(({ name }) => textWidth(name, theme))) + 12);
  const inner = { width: width - left - 8, height: height - TIME_HEIGHT };
  const high = inner.height / rows.length;
  const x = (time) => left + (Math.min(times.to, Math.max(times.from, time)) - times.from) / times.span * inner.width;
  return (
    <svg width={width} height={height}>
      {rows.map(({ name, display, stretches: all }, row) => (
        <g key={name} transform={`translate(0 ${row * high})`}>
          <text x={left - 6} y={high / 2} fill={theme.colors.text.primary} fontSize={12} textAnchor="end" dominantBaseline="middle">{name}</text>
          {all.map(({ state, from, to }) => (
            <rect key={from} x={x(from)} y={(high * (1 - rowHeight)) / 2} width={Math.max(1, x(to) - x(from))} height={high * rowHeight} fill={display(state).color} fillOpacity={opacity} />
          ))}
        </g>
      ))}
      <TimeAxis times={times} left={left} width={inner.width} top={inner.height} />
    </svg>
  );
}

export function StateTimelinePanel({ model, frames, times, width, height, context: { theme } }) {
  const { legend } = model.options;
  const rows = rowsOf(frames, times.step);
  const drawn = legend.showLegend && (
    <VizLayout.Legend placement={legend.placement}>
      <VizLegend placement={legend.placement} displayMode={legend.displayMode} items={legendItems(rows)} readonly />
    </VizLayout.Legend>
  );
  return (
    <VizLayout width={width} height={height} legend={drawn || null}>
      {(innerWidth, innerHeight) => <Rows rows={rows} model={model} times={times} width={innerWidth} height={innerHeight} theme={theme} />}
    </VizLayout>
  );
}
