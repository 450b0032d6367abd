// The heatmap: a row for each bucket, a column for each step, and the colour says how many.

import { fieldColorModeRegistry, formattedValueToString, getValueFormat } from '@grafana/data';

import { textWidth, TimeAxis, TIME_HEIGHT } from './axes.jsx';

/** Least distance of two labels of the axis. */
const LABEL = 16;
/** The scale of colours below. */
const SCALE = { width: 120, height: 24 };

/** Rows from below: by their bound where all have one, otherwise as they came. */
function rowsOf(frames) {
  const rows = frames.map(({ fields: [time, value] }) => ({ name: value.config.displayNameFromDS, isUpperBound: 'le' in (value.labels ?? {}), time, value }));
  const bound = ({ name }) => Number(name.replace('+Inf', 'Infinity'));
  return rows.every((row) => !Number.isNaN(bound(row))) ? rows.sort((a, b) => bound(a) - bound(b)) : rows;
}

function cellsOf(rows, { le = -Infinity, ge = Infinity } = {}) {
  return rows.flatMap(({ time, value }, row) => value.values.flatMap((count, index) => (
    Number.isFinite(count) && count > le && count < ge ? [{ row, time: time.values[index] / 1000, count }] : []
  )));
}

function Scale({ lowest, highest, color, left, top, theme }) {
  const parts = Array.from({ length: 24 }, (_, index) => index / 23);
  const text = { fill: theme.colors.text.primary, fontSize: 12 };
  const format = (count) => formattedValueToString(getValueFormat('short')(count));
  return (
    <g transform={`translate(${left} ${top})`}>
      {parts.map((part, index) => <rect key={part} x={index * (SCALE.width / 24)} width={SCALE.width / 24} height={6} fill={color(lowest + part * (highest - lowest))} />)}
      <text y={20} {...text}>{format(lowest)}</text>
      <text x={SCALE.width} y={20} textAnchor="end" {...text}>{format(highest)}</text>
    </g>
  );
}

function Labels({ rows, unit, left, high, theme }) {
  const format = getValueFormat(unit);
  const texts = rows.map(({ name }) => (Number.isNaN(Number(name)) ? name : formattedValueToString(format(Number(name)))));
  const every = Math.ceil(LABEL / high);
  // A bound belongs to the upper edge of its row, a name to the middle.
  const y = (row) => (rows.length - row - (rows[row].isUpperBound ? 1 : 0.5)) * high;
  return texts.map((text, row) => row % every === 0 && (
    <text key={rows[row].name} x={left - 6} y={Math.max(8, y(row))} fill={theme.colors.text.primary} fontSize={12} textAnchor="end" dominantBaseline="middle">{text}</text>
  ));
}

export function HeatmapPanel({ model, frames, times, width, height, context: { theme } }) {
  const { color, filterValues, yAxis, legend, cellGap = 1 } = model.options;
  const rows = rowsOf(frames);
  const cells = cellsOf(rows, filterValues);
  const counts = cells.map(({ count }) => count);
  const lowest = Math.min(...counts, Infinity);
  const highest = Math.max(...counts, -Infinity);
  const { interpolator } = fieldColorModeRegistry.get(`continuous-${color.scheme.toLowerCase()}`);
  const shade = (count) => interpolator(highest > lowest ? ((count - lowest) / (highest - lowest)) ** color.exponent : 1);

  const unit = yAxis.unit ?? 'short';
  const longest = Math.max(...rows.map(({ name }) => textWidth(Number.isNaN(Number(name)) ? name : formattedValueToString(getValueFormat(unit)(Number(name))), theme)));
  const left = longest + 12;
  const scale = legend.show && cells.length > 0 ? SCALE.height : 0;
  const inner = { width: width - left - 8, height: height - TIME_HEIGHT - scale };
  const high = inner.height / rows.length;
  const wide = (times.step / times.span) * inner.width;
  const x = (time) => left + ((time - times.from) / times.span) * inner.width;
  return (
    <svg width={width} height={height}>
      {cells.map(({ row, time, count }) => (
        <rect key={`${row} ${time}`} x={x(time) - wide} y={(rows.length - row - 1) * high} width={Math.max(1, wide - cellGap)} height={Math.max(1, high - cellGap)} fill={shade(count)} />
      ))}
      <Labels rows={rows} unit={unit} left={left} high={high} theme={theme} />
      <TimeAxis times={times} left={left} width={inner.width} top={inner.height} />
      {scale > 0 && <Scale lowest={lowest} highest={highest} color={shade} left={left} top={height - scale + 2} theme={theme} />}
    </svg>
  );
}
