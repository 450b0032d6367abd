// The kinds of panel. `saysEmpty` marks those that show the text for no value themselves, as large as a value.

import { BarGaugePanel } from './barGauge.jsx';
import { GaugePanel } from './gauge.jsx';
import { HeatmapPanel } from './heatmap.jsx';
import { PiePanel } from './pie.jsx';
import { StatPanel } from './stat.jsx';
import { StateTimelinePanel } from './stateTimeline.jsx';
import { TablePanel } from './table.jsx';
import { TimeSeriesPanel } from './timeSeries.jsx';

export const KINDS = {
  stat: { Draw: StatPanel, saysEmpty: true },
  gauge: { Draw: GaugePanel, saysEmpty: true },
  bargauge: { Draw: BarGaugePanel, saysEmpty: true },
  timeseries: { Draw: TimeSeriesPanel },
  table: { Draw: TablePanel },
  heatmap: { Draw: HeatmapPanel },
  'state-timeline': { Draw: StateTimelinePanel },
  piechart: { Draw: PiePanel },
};
