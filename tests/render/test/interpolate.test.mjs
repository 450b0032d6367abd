import assert from 'node:assert/strict';
import { test } from 'node:test';

import { interpolateQuery, interpolateText } from '../page/interpolate.js';

const variables = new Map(Object.entries({
  node: { text: 'All', values: ['a', 'b'], isAll: true, allValue: '.*', mayBeSeveral: true },
  gpu: { text: '0 + 1', values: ['0', '1'], isAll: false, mayBeSeveral: true },
  session: { text: 'desk.1', values: ['desk.1'], isAll: false, mayBeSeveral: true },
  find: { text: '.*', values: ['.*'], isAll: false, mayBeSeveral: false },
}));
const times = { step: 15, scrape: 15, span: 3600 };
const query = (text) => interpolateQuery(text, variables, times);

test('a query has the values of variables as the data source writes them', () => {
  assert.equal(query('up{instance=~"$node"}'), 'up{instance=~".*"}');
  assert.equal(query('up{gpu=~"${gpu}"}'), 'up{gpu=~"(0|1)"}');
  // Within a string of PromQL a backslash is written twice.
  assert.equal(query('up{session=~"$session"}'), String.raw`up{session=~"desk\\.1"}`);
  assert.equal(query('up{session=~"$find"}'), 'up{session=~".*"}');
  assert.equal(query('up{other=~"$other"}'), 'up{other=~"$other"}');
});

test('a query has the durations of Grafana', () => {
  assert.equal(query('rate(a[$__rate_interval]) + b[$__range] + c[$__interval]'), 'rate(a[60s]) + b[3600s] + c[15s]');
});

test('a text has what a person chose', () => {
  assert.equal(interpolateText('GPU $gpu of ${node}', variables), 'GPU 0 + 1 of All');
  assert.equal(interpolateText(undefined, variables), undefined);
});
