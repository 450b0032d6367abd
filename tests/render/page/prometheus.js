// The queries of the page, as Grafana's data source asks them.

async function ask(path, parameters) {
  const response = await fetch(`/api/v1/${path}`, { method: 'POST', body: new URLSearchParams(parameters) });
  const answer = await response.json();
  if (answer.status !== 'success') throw new Error(answer.error);
  return answer.data;
}

/** An instant query: series with one value each. */
export async function instant(query, time) {
  const { resultType, result } = await ask('query', { query, time });
  if (resultType === 'scalar') return [{ metric: {}, values: [result] }];
  if (resultType !== 'vector') throw new Error(`an instant query answers a ${resultType}`);
  return result.map(({ metric, value }) => ({ metric, values: [value] }));
}

/** A range query; its ends lie on multiples of the step, so that a panel that is drawn again shows the same points. */
export async function range(query, from, to, step) {
  const aligned = (time) => Math.floor(time / step) * step;
  const { result } = await ask('query_range', { query, start: aligned(from), end: aligned(to), step });
  return result;
}

/** Values of a label, of the series that a selector finds. */
export async function labelValues(label, selector, from, to) {
  const query = new URLSearchParams({ start: from, end: to });
  if (selector) query.set('match[]', selector);
  const response = await fetch(`/api/v1/label/${encodeURIComponent(label)}/values?${query}`);
  const answer = await response.json();
  if (answer.status !== 'success') throw new Error(answer.error);
  return answer.data;
}
