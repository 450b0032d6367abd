import { getDisplayValueAlignmentFactors, getFieldConfigWithMinMax, getDisplayProcessor } from '@grafana/data';
import { BarGauge, VizRepeater } from '@grafana/ui';

import { figures } from '../reds.js';

/** Heights between which Grafana stretches a bar; below the least, the panel scrolls. Those of a dashboard apply if it says so. */
const AUTO = { minVizWidth: 8, minVizHeight: 16, maxVizHeight: 300 };

function sizesOf({ sizing, ...options }) {
  if (sizing !== 'manual') return AUTO;
  const given = Object.keys(AUTO).filter((name) => options[name] !== undefined).map((name) => [name, options[name]]);
  return { ...AUTO, ...Object.fromEntries(given) };
}

export function BarGaugePanel({ model, frames, width, height, context }) {
  const { orientation, displayMode, showUnfilled, valueMode, namePlacement = 'auto', text } = model.options;
  const draw = ({ value, alignmentFactors, orientation: turned, count, width: one, height: high }) => (
    <BarGauge
      value={value.display}
      field={getFieldConfigWithMinMax({ config: value.field, type: 'number', values: [] }, false)}
      display={getDisplayProcessor({ field: { config: value.field, type: 'number' }, theme: context.theme })}
      orientation={turned}
      displayMode={displayMode}
      showUnfilled={showUnfilled}
      valueDisplayMode={valueMode}
      namePlacement={namePlacement}
      alignmentFactors={count > 1 ? alignmentFactors : undefined}
      itemSpacing={10}
      lcdCellWidth={12}
      text={text}
      width={one}
      height={high}
      theme={context.theme}
    />
  );
  return (
    <div style={{ height, overflow: 'auto' }}>
      <VizRepeater getValues={() => figures(model, frames, context.theme)} getAlignmentFactors={getDisplayValueAlignmentFactors} renderValue={draw} source={frames} renderCounter={0} width={width} height={height} {...sizesOf(model.options)} itemSpacing={10} orientation={orientation} />
    </div>
  );
}
