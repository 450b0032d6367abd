import { FieldType } from '@grafana/data';
import { TimeSeries } from '@grafana/ui';

import { timeRange } from '../query.js';

/** A quantile of nothing is not a number, and a scale that has to hold one holds nothing. Grafana's panel does the same. */
function graphable(frame) {
  const fields = frame.fields.map((field) => (
    field.type === FieldType.number ? { ...field, values: field.values.map((value) => (Number.isFinite(value) ? value : null)) } : field
  ));
  return { ...frame, fields };
}

export function TimeSeriesPanel({ model, frames, times, width, height }) {
  return <TimeSeries frames={frames.map(graphable)} timeRange={timeRange(times.from, times.to)} timeZone="browser" width={width} height={height} legend={model.options.legend} structureRev={1} />;
}
