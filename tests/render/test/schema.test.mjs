// Faults that Grafana would pass over, planted in a small dashboard.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { check } from '../schema.mjs';

const datasource = { type: 'prometheus', uid: '${datasource}' };

function dashboard() {
  return {
    uid: 'one',
    title: 'One',
    schemaVersion: 39,
    links: [],
    templating: { list: [{ name: 'node', type: 'query', query: 'label_values(up, instance)', refresh: 2 }] },
    panels: [
      {
        id: 1,
        type: 'timeseries',
        title: 'Lines',
        gridPos: { x: 0, y: 0, w: 12, h: 8 },
        datasource,
        targets: [{ refId: 'A', datasource, expr: 'up', format: 'time_series' }],
        options: { legend: { displayMode: 'list', placement: 'bottom', showLegend: true, calcs: ['lastNotNull'] } },
        fieldConfig: { defaults: { unit: 'percentunit', custom: { fillOpacity: 10 } }, overrides: [] },
        transformations: [{ id: 'merge', options: {} }],
      },
      {
        id: 2,
        type: 'table',
        title: 'Rows',
        gridPos: { x: 12, y: 0, w: 12, h: 8 },
        fieldConfig: {
          defaults: { thresholds: { mode: 'absolute', steps: [{ color: 'blue', value: null }] } },
          overrides: [{ matcher: { id: 'byName', options: 'CPUs' }, properties: [{ id: 'custom.cellOptions', value: { type: 'color-text' } }] }],
        },
      },
    ],
  };
}

/** Each changes the dashboard, and the path of the fault that is to be found. */
const PLANTED = {
  'a misspelt mode of the legend': [({ panels: [lines] }) => { lines.options.legend.displayMode = 'lists'; }, 'panels[0].options.legend.displayMode'],
  'a text for a number': [({ panels: [lines] }) => { lines.fieldConfig.defaults.min = 'zero'; }, 'panels[0].fieldConfig.defaults.min'],
  'an option that there is not': [({ panels: [lines] }) => { lines.options.legends = {}; }, 'panels[0].options.legends'],
  'a setting that there is not': [({ panels: [lines] }) => { lines.fieldConfig.defaults.custom.fillOpactiy = 10; }, 'panels[0].fieldConfig.defaults.custom.fillOpactiy'],
  'an unknown calculation': [({ panels: [lines] }) => { lines.options.legend.calcs = ['lastNotNul']; }, 'panels[0].options.legend.calcs[0]'],
  'an unknown transformation': [({ panels: [lines] }) => { lines.transformations[0].id = 'merged'; }, 'panels[0].transformations[0].id'],
  'an unknown format': [({ panels: [lines] }) => { lines.targets[0].format = 'lines'; }, 'panels[0].targets[0].format'],
  'an unknown unit': [({ panels: [lines] }) => { lines.fieldConfig.defaults.unit = 'percentunits'; }, '.panels[0].fieldConfig.defaults.unit'],
  'an unknown colour': [({ panels: [, rows] }) => { rows.fieldConfig.defaults.thresholds.steps[0].color = 'bleu'; }, '.panels[1].fieldConfig.defaults.thresholds.steps[0].color'],
  'an override of the wrong value': [({ panels: [, rows] }) => { rows.fieldConfig.overrides[0].properties[0].value.type = 'text-color'; }, 'panels[1].fieldConfig.overrides[0].properties[0].value'],
  'an unknown kind of variable': [(model) => { model.templating.list[0].type = 'querry'; }, '.templating.list[0].type'],
  'an unknown kind of panel': [({ panels: [, rows] }) => { rows.type = 'grid'; }, 'panels[1].type'],
  'a dashboard without a version': [(model) => { delete model.schemaVersion; }, '.'],
};

test('a planted fault is found, and nothing else', () => {
  const faulty = Object.entries(PLANTED).map(([file, [plant]]) => {
    const model = dashboard();
    plant(model);
    return { file, model };
  });
  const found = check([{ file: 'none', model: dashboard() }, ...faulty]).map(({ file, path }) => `${file}: ${path}`);
  const wanted = Object.entries(PLANTED).map(([file, [, path]]) => `${file}: ${path}`);
  assert.deepEqual(found.sort(), wanted.sort());
});
