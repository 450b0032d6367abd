// The gauge, which Grafana keeps among its panels: an arc with the colour of the value, and a thin one outside with
// the thresholds.

import { VizRepeater } from '@grafana/ui';

import { figures } from '../reds.js';

/** Where the arc begins and how far it goes, in degrees from the top. */
const BEGIN = -120;
const SWEEP = 240;

function point(center, radius, degrees) {
  const angle = ((degrees - 90) * Math.PI) / 180;
  return `${center.x + radius * Math.cos(angle)} ${center.y + radius * Math.sin(angle)}`;
}

function Arc({ center, radius, from, to, ...rest }) {
  if (to <= from) return null;
  const start = BEGIN + SWEEP * from;
  const end = BEGIN + SWEEP * to;
  const isLong = end - start > 180 ? 1 : 0;
  return <path d={`M ${point(center, radius, start)} A ${radius} ${radius} 0 ${isLong} 1 ${point(center, radius, end)}`} fill="none" {...rest} />;
}

function Thresholds({ steps, share, theme, ...rest }) {
  const bounds = steps.map(({ value }) => share(value));
  return steps.map(({ color }, index) => (
    <Arc key={color + bounds[index]} from={bounds[index]} to={bounds[index + 1] ?? 1} stroke={theme.visualization.getColorByName(color)} {...rest} />
  ));
}

function Gauge({ value, width, height, showThresholds, hasName, theme }) {
  const { display, field } = value;
  const { min = 0, max = 100, thresholds } = field;
  const share = (figure) => Math.min(1, Math.max(0, (figure - min) / (max - min)));
  // The arc leaves out its lowest part, so that it is three quarters as high as it is wide.
  const radius = Math.min(width / 2, height / 1.6) - 12;
  const center = { x: width / 2, y: radius + 12 };
  const bar = radius * 0.28;
  const text = [display.prefix, display.text, display.suffix].join('');
  // A character is a little more than half as wide as it is high, and the text stays within the arc.
  const size = Math.min(radius * 0.4, (2 * (radius - bar) * 0.9) / (0.6 * text.length));
  return (
    <svg width={width} height={height} role="img" aria-label={text}>
      <Arc center={center} radius={radius - bar / 2} from={0} to={1} stroke={theme.colors.background.secondary} strokeWidth={bar} />
      <Arc center={center} radius={radius - bar / 2} from={0} to={share(display.numeric)} stroke={display.color} strokeWidth={bar} />
      {showThresholds && <Thresholds steps={thresholds.steps} share={share} theme={theme} center={center} radius={radius + 5} strokeWidth={4} />}
      <text x={center.x} y={center.y} fill={display.color} fontSize={size} fontWeight={500} textAnchor="middle" dominantBaseline="middle">{text}</text>
      {hasName && <text x={center.x} y={center.y + size} fill={theme.colors.text.primary} fontSize={14} textAnchor="middle">{display.title}</text>}
    </svg>
  );
}

export function GaugePanel({ model, frames, width, height, context }) {
  const { showThresholdMarkers, orientation } = model.options;
  const draw = ({ value, count, width: one, height: high }) => (
    <Gauge value={value} width={one} height={high} showThresholds={showThresholdMarkers} hasName={count > 1} theme={context.theme} />
  );
  return <VizRepeater getValues={() => figures(model, frames, context.theme)} renderValue={draw} source={frames} renderCounter={0} width={width} height={height} minVizWidth={75} minVizHeight={75} itemSpacing={8} orientation={orientation} autoGrid />;
}
