// A dashboard as TypeScript, one value in each line, and the JSON path of each line.

/** Kinds of panel, and the folder and the prefix under which @grafana/schema has their types. */
const KINDS = {
  bargauge: ['bargauge', 'BarGauge', false],
  gauge: ['gauge', 'Gauge', false],
  heatmap: ['heatmap', 'Heatmap', true],
  logs: ['logs', 'Logs', false],
  piechart: ['piechart', 'PieChart', true],
  stat: ['stat', 'Stat', false],
  'state-timeline': ['statetimeline', 'StateTimeline', true],
  table: ['table', 'Table', true],
  text: ['text', 'Text', false],
  timeseries: ['timeseries', 'TimeSeries', true],
};

const identifier = (kind) => kind.replace('-', '_');

function imports(kinds) {
  const lines = kinds.map((kind) => {
    const [folder, prefix] = KINDS[kind];
    return `import type * as ${identifier(kind)} from '@grafana/schema/dist/esm/raw/composable/${folder}/panelcfg/x/${prefix}PanelCfg_types.gen';`;
  });
  return ["import type { DashboardOf, PanelOf, RowOf } from './types';", ...lines];
}

class Lines {
  text = [];
  paths = [];

  push(line, path) {
    this.text.push(line);
    this.paths.push(path);
  }

  /** A literal over as many lines as it has values. */
  literal(value, path, before, after) {
    if (typeof value !== 'object' || value === null) return this.push(before + JSON.stringify(value) + after, path);
    const [open, close] = Array.isArray(value) ? ['[', ']'] : ['{', '}'];
    this.push(before + open, path);
    for (const [key, inner] of Object.entries(value)) {
      const below = Array.isArray(value) ? `${path}[${key}]` : `${path}.${key}`;
      this.literal(inner, below, Array.isArray(value) ? '' : `${JSON.stringify(key)}: `, ',');
    }
    return this.push(close + after, path);
  }
}

function typeOf({ type }) {
  if (type === 'row') return 'RowOf';
  const [, , hasFields] = KINDS[type];
  const name = identifier(type);
  // Kinds without field settings of their own take none.
  return `PanelOf<'${type}', ${name}.Options, ${hasFields ? `${name}.FieldConfig` : 'object'}>`;
}

/** Returns { text, paths, faults }: faults are of what cannot be put into types. */
export function sourceOf({ panels, ...dashboard }) {
  const lines = new Lines();
  const faults = [];
  const all = panels.flatMap((panel, index) => [[panel, `panels[${index}]`], ...(panel.panels ?? []).map((inner, at) => [inner, `panels[${index}].panels[${at}]`])]);
  const known = all.filter(([{ type }, path]) => {
    const isKnown = type === 'row' || type in KINDS;
    if (!isKnown) faults.push({ path: `${path}.type`, message: `no types of the kind ${type}` });
    return isKnown;
  });
  const kinds = [...new Set(known.map(([{ type }]) => type))].filter((type) => type !== 'row');
  for (const line of imports(kinds)) lines.push(line, '');
  lines.literal(dashboard, '', 'export const dashboard = ', ' satisfies DashboardOf;');
  for (const [index, [panel, path]] of known.entries()) {
    const { panels: inside, ...own } = panel;
    lines.literal(panel.type === 'row' ? own : panel, path, `export const panel${index} = `, ` satisfies ${typeOf(panel)};`);
  }
  return { text: lines.text.join('\n'), paths: lines.paths, faults };
}
