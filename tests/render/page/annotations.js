// Annotations are not drawn. Their queries are asked all the same, since a wrong one only shows as a line that is missing.

import { interpolateQuery } from './interpolate.js';
import { range as askRange } from './prometheus.js';

export function askAnnotations(model, variables, range, scrape) {
  const wanted = (model.annotations?.list ?? []).filter(({ datasource }) => datasource?.type === 'prometheus');
  return Promise.all(wanted.map(async (annotation) => {
    const { name } = annotation;
    const query = annotation.target?.expr ?? annotation.expr;
    const times = { step: 60, scrape, span: range.to - range.from };
    try {
      const found = await askRange(interpolateQuery(query, variables, times), range.from, range.to, times.step);
      return { name, state: found.length > 0 ? 'data' : 'empty' };
    } catch (error) {
      return { name, state: 'error', error: error.message };
    }
  }));
}
