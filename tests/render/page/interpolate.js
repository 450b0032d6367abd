// What stands for variables in queries and in titles.

/** $name, ${name} and ${name:format}; [[name]] is long gone from Grafana. */
const VARIABLE = /\$(?:\{(\w+)(?::\w+)?\}|(\w+))/g;

const escapeRegex = (text) => text.replace(/\\/g, '\\\\\\\\').replace(/[$^*{}[\]'+?.()|]/g, '\\\\$&');
const escapeString = (text) => text.replace(/\\/g, '\\\\').replace(/'/g, "\\\\'");

/** How Grafana's data source of Prometheus writes a variable's value into a query. */
function inQuery(variable) {
  if (variable.isAll && variable.allValue) return variable.allValue;
  if (!variable.mayBeSeveral) return escapeString(variable.values[0] ?? '');
  const escaped = variable.values.map(escapeRegex);
  return escaped.length === 1 ? escaped[0] : `(${escaped.join('|')})`;
}

/** Durations that Grafana knows and Prometheus does not. */
function durations({ step, scrape, span }) {
  const rate = Math.max(step + scrape, 4 * scrape);
  return {
    __interval: `${step}s`,
    __interval_ms: `${step * 1000}`,
    __range: `${span}s`,
    __range_s: `${span}`,
    __range_ms: `${span * 1000}`,
    __rate_interval: `${rate}s`,
  };
}

export function interpolateQuery(query, variables, times) {
  const known = times ? durations(times) : {};
  return query.replace(VARIABLE, (all, braced, bare) => {
    const name = braced ?? bare;
    if (name in known) return known[name];
    return variables.has(name) ? inQuery(variables.get(name)) : all;
  });
}

/** For titles and descriptions. */
export function interpolateText(text, variables) {
  return text?.replace(VARIABLE, (all, braced, bare) => variables.get(braced ?? bare)?.text ?? all);
}
