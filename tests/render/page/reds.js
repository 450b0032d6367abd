// How many values of a panel are drawn in red. A dashboard of a healthy node has none: who sees red every day does not
// look when it means something.

import { getFieldDisplayValues } from '@grafana/data';

import { fieldConfig } from './fields.js';

/** All shades of red that a threshold or a mapping can name. */
function shades(theme) {
  const red = theme.visualization.hues.find(({ name }) => name === 'red');
  return new Set(red.shades.map(({ color }) => color.toLowerCase()));
}

/** Values as the kinds reduce series to one figure each. */
export function figures(model, frames, theme, options = {}) {
  return getFieldDisplayValues({
    data: frames,
    fieldConfig: fieldConfig(model),
    reduceOptions: { values: false, calcs: ['lastNotNull'], ...model.options.reduceOptions },
    replaceVariables: (text) => text,
    timeZone: 'browser',
    theme,
    ...options,
  });
}

const COLORED_CELLS = ['color-text', 'color-background', 'color-background-solid', 'gauge', 'basic', 'gradient-gauge', 'lcd-gauge'];

function colorsOf(model, frames, theme) {
  switch (model.type) {
    case 'stat':
    case 'gauge':
    case 'bargauge':
      return figures(model, frames, theme).map(({ display }) => display.color);
    case 'table':
      return frames.flatMap(({ fields }) => fields)
        .filter((field) => COLORED_CELLS.includes(field.config.custom?.cellOptions?.type))
        .flatMap((field) => field.values.filter((value) => value !== null && value !== undefined && value !== '').map((value) => field.display(value).color));
    case 'state-timeline':
      // What each row shows now.
      return frames.flatMap(({ fields }) => fields)
        .filter(({ type }) => type === 'number')
        .map((field) => field.display(field.values.findLast((value) => value !== null)).color);
    default:
      // Lines, slices and cells of heatmaps have colours of their own, which mean nothing.
      return [];
  }
}

export function reds(model, frames, theme) {
  const red = shades(theme);
  return colorsOf(model, frames, theme).filter((color) => color && red.has(color.toLowerCase().slice(0, 7))).length;
}
