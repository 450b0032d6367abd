import { TableNG } from '@grafana/ui/unstable';

import { fieldConfig } from '../fields.js';
import { timeRange } from '../query.js';

export function TablePanel({ model, frames, times, width, height }) {
  const { sortBy, showHeader, cellHeight, frameIndex = 0 } = model.options;
  return (
    <TableNG
      data={frames[frameIndex]}
      width={width}
      height={height}
      noHeader={!showHeader}
      sortBy={sortBy}
      cellHeight={cellHeight}
      fieldConfig={fieldConfig(model)}
      timeRange={timeRange(times.from, times.to)}
      noValue={model.fieldConfig.defaults.noValue}
      structureRev={1}
      resizable
    />
  );
}
