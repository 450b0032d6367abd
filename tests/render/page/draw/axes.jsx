// Axes of the kinds that are drawn here.

import { dateTimeFormat, rangeUtil } from '@grafana/data';
import { useTheme2 } from '@grafana/ui';

/** Room for the times below. */
export const TIME_HEIGHT = 20;

/** Times that are round, about 100 pixels apart. */
export function TimeAxis({ times, left, width, top }) {
  const theme = useTheme2();
  const step = rangeUtil.roundInterval((times.span * 1000) / Math.max(1, width / 100)) / 1000;
  const first = Math.ceil(times.from / step) * step;
  const marks = Array.from({ length: Math.max(0, Math.floor((times.to - first) / step) + 1) }, (_, index) => first + index * step);
  const format = step < 60 ? 'HH:mm:ss' : times.span > 86400 ? 'MM/DD HH:mm' : 'HH:mm';
  return marks.map((time) => (
    <text key={time} x={left + ((time - times.from) / times.span) * width} y={top + 14} fill={theme.colors.text.primary} fontSize={12} textAnchor="middle">
      {dateTimeFormat(time * 1000, { format })}
    </text>
  ));
}

let context;
/** How wide a text of an axis is. */
export function textWidth(text, theme) {
  context ??= document.createElement('canvas').getContext('2d');
  context.font = `12px ${theme.typography.fontFamily}`;
  return context.measureText(text).width;
}
