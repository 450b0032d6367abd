// The variables of a dashboard, each at the value with which Grafana opens it.

import { interpolateQuery } from './interpolate.js';
import { instant, labelValues } from './prometheus.js';

const LABEL_VALUES = /^label_values\((?:(.+),\s*)?(\w+)\)$/s;
const QUERY_RESULT = /^query_result\((.+)\)$/s;

/** A result as the data source writes it: name{label="value"} value time. Variables cut pieces out of that. */
function line({ metric, values }, time) {
  const { __name__: name = '', ...labels } = metric;
  const inside = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
  return `${name}{${inside.join(',')}} ${values[0][1]} ${time * 1000}`;
}

async function find(query, range) {
  const labels = LABEL_VALUES.exec(query);
  if (labels) return labelValues(labels[2], labels[1], range.from, range.to);
  const result = QUERY_RESULT.exec(query);
  if (result) return (await instant(result[1], range.to)).map((series) => line(series, range.to));
  throw new Error(`a variable asks in a way that is not known here: ${query}`);
}

/** Applies /pattern/: what it does not find is left out, and its first group is the value. */
function cut(options, regex) {
  if (!regex) return options;
  const [, pattern, flags] = /^\/(.*)\/(\w*)$/s.exec(regex) ?? [null, regex, ''];
  const expression = new RegExp(pattern, flags.replace('g', ''));
  return options.map((option) => expression.exec(option)).filter(Boolean).map((found) => found[1] ?? found[0]);
}

async function optionsOf(model, variables, range) {
  switch (model.type) {
    case 'query': {
      const query = typeof model.query === 'string' ? model.query : model.query.query;
      const found = cut(await find(interpolateQuery(query, variables), range), model.regex);
      return [...new Set(found)].sort();
    }
    case 'custom':
      return model.query.split(',').map((option) => option.trim());
    case 'datasource':
    case 'textbox':
    case 'constant':
      return [model.query];
    default:
      throw new Error(`variables of the type ${model.type} are not known here`);
  }
}

function valueOf(model, options) {
  const current = model.current?.value;
  const chosen = current === undefined ? options.slice(0, 1) : [current].flat();
  const isAll = chosen.includes('$__all');
  return {
    label: model.label ?? model.name,
    text: isAll ? 'All' : chosen.join(' + '),
    values: isAll ? options : chosen,
    options: options.length,
    isAll,
    allValue: model.allValue,
    mayBeSeveral: Boolean(model.multi || model.includeAll),
  };
}

/** In the order of the dashboard, since a query may name a variable that stands before it. */
export async function resolveVariables(models, range) {
  const variables = new Map();
  for (const model of models) variables.set(model.name, valueOf(model, await optionsOf(model, variables, range)));
  return variables;
}
