import { getDisplayValueAlignmentFactors } from '@grafana/data';
import { BigValue, VizRepeater } from '@grafana/ui';

import { timeRange } from '../query.js';
import { figures } from '../reds.js';

export function StatPanel({ model, frames, times, width, height, context }) {
  const { colorMode, graphMode, justifyMode, textMode, orientation, wideLayout, text } = model.options;
  const values = () => figures(model, frames, context.theme, { sparkline: graphMode !== 'none' });
  const draw = ({ value, alignmentFactors, count, width: one, height: high }) => {
    const sparkline = value.sparkline && { ...value.sparkline, timeRange: timeRange(times.from, times.to) };
    return (
      <BigValue
        value={value.display}
        count={count}
        sparkline={sparkline}
        colorMode={colorMode}
        graphMode={graphMode}
        justifyMode={justifyMode}
        textMode={textMode}
        alignmentFactors={alignmentFactors}
        text={text}
        width={one}
        height={high}
        theme={context.theme}
        disableWideLayout={!wideLayout}
      />
    );
  };
  return (
    <VizRepeater getValues={values} getAlignmentFactors={getDisplayValueAlignmentFactors} renderValue={draw} source={frames} renderCounter={0} width={width} height={height} itemSpacing={3} orientation={orientation} autoGrid />
  );
}
