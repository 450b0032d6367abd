// The pie, or the ring, of what a whole is made of.

import { formattedValueToString } from '@grafana/data';
import { VizLayout, VizLegend } from '@grafana/ui';

import { figures } from '../reds.js';

function slicesOf(values) {
  const shown = values.filter(({ display }) => display.numeric > 0);
  const whole = shown.reduce((sum, { display }) => sum + display.numeric, 0);
  let end = 0;
  return shown
    .sort((a, b) => b.display.numeric - a.display.numeric)
    .map(({ display }) => {
      const begin = end;
      end += display.numeric / whole;
      return { display, share: display.numeric / whole, begin, end };
    });
}

const percent = (share) => `${Math.round(share * 100)}%`;

function legendItems(slices, values = []) {
  return slices.map(({ display, share }) => ({
    label: display.title,
    color: display.color,
    yAxis: 1,
    getDisplayValues: () => [
      ...(values.includes('value') ? [{ numeric: display.numeric, text: formattedValueToString(display), title: 'Value' }] : []),
      ...(values.includes('percent') ? [{ numeric: share, text: percent(share), title: 'Percent' }] : []),
    ],
  }));
}

function Ring({ slices, model, width, height, theme }) {
  const radius = Math.max(0, Math.min(width, height) / 2 - 8);
  const thick = model.options.pieType === 'donut' ? radius * 0.4 : radius;
  const middle = radius - thick / 2;
  const at = (share, distance) => {
    const angle = share * 2 * Math.PI - Math.PI / 2;
    return { x: width / 2 + distance * Math.cos(angle), y: height / 2 + distance * Math.sin(angle) };
  };
  const arc = ({ begin, end }) => {
    const from = at(begin, middle);
    // A whole circle has no arc from its end to itself.
    const to = at(Math.min(end, begin + 0.9999), middle);
    return `M ${from.x} ${from.y} A ${middle} ${middle} 0 ${end - begin > 0.5 ? 1 : 0} 1 ${to.x} ${to.y}`;
  };
  return (
    <svg width={width} height={height}>
      {slices.map((slice) => <path key={slice.display.title} d={arc(slice)} stroke={slice.display.color} strokeWidth={thick} fill="none" />)}
      {model.options.displayLabels?.includes('percent') && slices.filter(({ share }) => share > 0.04).map(({ display, begin, end, share }) => {
        const { x, y } = at((begin + end) / 2, middle);
        return <text key={display.title} x={x} y={y} fill={theme.colors.getContrastText(display.color)} fontSize={14} textAnchor="middle" dominantBaseline="middle">{percent(share)}</text>;
      })}
    </svg>
  );
}

export function PiePanel({ model, frames, width, height, context: { theme } }) {
  const { legend } = model.options;
  const slices = slicesOf(figures(model, frames, theme));
  const drawn = legend.showLegend && (
    <VizLayout.Legend placement={legend.placement}>
      <VizLegend placement={legend.placement} displayMode={legend.displayMode} items={legendItems(slices, legend.values)} readonly />
    </VizLayout.Legend>
  );
  return (
    <VizLayout width={width} height={height} legend={drawn || null}>
      {(innerWidth, innerHeight) => <Ring slices={slices} model={model} width={innerWidth} height={innerHeight} theme={theme} />}
    </VizLayout>
  );
}
