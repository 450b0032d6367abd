// Data frames from what Prometheus answers, with the names and the form that Grafana's data source gives them:
// overrides and transformations of a dashboard refer to those.

import { createDataFrame, FieldType } from '@grafana/data';

const number = (text) => (text === '+Inf' ? Infinity : text === '-Inf' ? -Infinity : Number(text));

function legend(format, { __name__: name = '', ...labels }) {
  if (format && format !== '__auto') {
    // A label that the series lacks leaves nothing.
    return format.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, label) => (label === '__name__' ? name : labels[label]) ?? '');
  }
  const inside = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
  return inside.length > 0 ? `${name}{${inside.join(', ')}}` : name || 'Value';
}

function timeField(series, step) {
  // The interval makes a gap where points are missing, instead of a line across.
  const config = step ? { interval: step * 1000 } : {};
  return { name: 'Time', type: FieldType.time, config, values: series.values.map(([time]) => time * 1000) };
}

/** One frame for each series. */
export function seriesFrames(target, result, step) {
  return result.map((series) => {
    const name = legend(target.legendFormat, series.metric);
    const values = series.values.map(([, value]) => number(value));
    const value = { name: 'Value', type: FieldType.number, labels: series.metric, values, config: { displayNameFromDS: name } };
    return createDataFrame({ refId: target.refId, name, fields: [timeField(series, step), value] });
  });
}

/** One frame with a row for each series and a column for each label. */
export function tableFrame(target, result, targets) {
  if (result.length === 0) return [];
  const labels = [...new Set(result.flatMap(({ metric }) => Object.keys(metric)))].sort();
  const rows = result.flatMap(({ metric, values }) => values.map((value) => ({ metric, value })));
  const columns = labels.map((label) => ({
    name: label,
    type: FieldType.string,
    config: { filterable: true },
    values: rows.map(({ metric }) => metric[label] ?? ''),
  }));
  const time = { name: 'Time', type: FieldType.time, config: {}, values: rows.map(({ value }) => value[0] * 1000) };
  const valueName = targets > 1 ? `Value #${target.refId}` : 'Value';
  const value = { name: valueName, type: FieldType.number, config: {}, values: rows.map((row) => number(row.value[1])) };
  return [createDataFrame({ refId: target.refId, fields: [time, ...columns, value] })];
}

/** Series of buckets, by their bound, and each without what is in the one below it. */
export function heatmapFrames(target, result, step) {
  const bound = ({ metric }) => number(metric.le);
  const sorted = [...result].sort((a, b) => bound(a) - bound(b));
  const below = new Map();
  const own = sorted.map((series) => ({
    ...series,
    values: series.values.map(([time, value]) => {
      const cumulated = number(value);
      const count = Math.max(0, cumulated - (below.get(time) ?? 0));
      below.set(time, cumulated);
      return [time, String(count)];
    }),
  }));
  return seriesFrames(target, own, step);
}
