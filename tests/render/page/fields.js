// Field settings. Grafana's panels register which settings they have and what the defaults are; the packages do
// without panels, so that both stand here.

import { FieldConfigOptionsRegistry, identityOverrideProcessor } from '@grafana/data';

const STANDARD = ['unit', 'min', 'max', 'decimals', 'displayName', 'noValue', 'color', 'thresholds', 'mappings', 'links', 'filterable', 'description'];

/** Defaults of the kinds of panel, where the component does not have them itself. */
const CUSTOM = {
  timeseries: {
    drawStyle: 'line',
    lineInterpolation: 'linear',
    lineWidth: 1,
    fillOpacity: 0,
    gradientMode: 'none',
    showPoints: 'auto',
    pointSize: 5,
    axisPlacement: 'auto',
    axisBorderShow: false,
    scaleDistribution: { type: 'linear' },
    hideFrom: { viz: false, legend: false, tooltip: false },
    stacking: { mode: 'none', group: 'A' },
    thresholdsStyle: { mode: 'off' },
    spanNulls: false,
  },
  table: { align: 'auto', cellOptions: { type: 'auto' }, inspect: false, footer: { reducers: [] } },
  'state-timeline': { fillOpacity: 70, lineWidth: 0, hideFrom: { viz: false, legend: false, tooltip: false } },
};

const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);

/** Settings of the dashboard over those of the kind, one level into objects: `stacking` names its mode and not its group. */
function merge(defaults, settings = {}) {
  const merged = { ...defaults };
  for (const [key, value] of Object.entries(settings)) {
    merged[key] = isObject(value) && isObject(defaults[key]) ? { ...defaults[key], ...value } : value;
  }
  return merged;
}

/** JSON has no infinity: the lowest step of thresholds is null there. */
function withBase(thresholds) {
  if (!thresholds?.steps) return thresholds;
  return { ...thresholds, steps: thresholds.steps.map((step) => ({ ...step, value: step.value ?? -Infinity })) };
}

export function fieldConfig(panel) {
  const { defaults = {}, overrides = [] } = panel.fieldConfig ?? {};
  const custom = merge(CUSTOM[panel.type] ?? {}, defaults.custom);
  return {
    defaults: { ...defaults, thresholds: withBase(defaults.thresholds), custom },
    overrides: overrides.map(({ matcher, properties }) => ({
      matcher,
      properties: properties.map((property) => (property.id === 'thresholds' ? { ...property, value: withBase(property.value) } : property)),
    })),
  };
}

/** What may be set and overridden in a panel: everything that it or its kind names. */
export function fieldRegistry(panel) {
  const { defaults, overrides } = fieldConfig(panel);
  const overridden = overrides.flatMap(({ properties }) => properties.map(({ id }) => id));
  const custom = new Set([
    ...Object.keys(defaults.custom),
    ...overridden.filter((id) => id.startsWith('custom.')).map((id) => id.slice('custom.'.length)),
  ]);
  const item = (id, path, isCustom) => ({ id, path, name: id, isCustom, process: identityOverrideProcessor, shouldApply: () => true, override: null, editor: null, settings: {} });
  return new FieldConfigOptionsRegistry(() => [
    ...STANDARD.map((name) => item(name, name, false)),
    ...[...custom].map((path) => item(`custom.${path}`, path, true)),
  ]);
}
