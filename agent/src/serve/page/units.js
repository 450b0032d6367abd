// Figures as a person reads them.
export const count = (value) => Math.round(value).toLocaleString('en');
export const percent = (share) => `${Number((share * 100).toFixed(share < 0.1 ? 1 : 0))} %`;
export const cpus = (value) => value.toFixed(2);

export function time(seconds) {
  if (seconds === 0) return '0';
  const [scale, unit] = [[1e-6, 'µs'], [1e-3, 'ms'], [1, 's'], [60, 'min'], [3600, 'h'], [86400, 'd']]
    .findLast(([scale]) => seconds >= scale) ?? [1e-6, 'µs'];
  const value = seconds / scale;
  return `${value < 10 ? value.toFixed(1) : value.toFixed(0)} ${unit}`;
}

export function bytes(value) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let at = 0;
  while (value >= 1024 && at < units.length - 1) {
    value /= 1024;
    at += 1;
  }
  return `${at > 0 && value < 10 ? value.toFixed(1) : value.toFixed(0)} ${units[at]}`;
}

/** A figure that may not be known: then it is a dash, and never 0. */
export const known = (value, form) => (value === null || value === undefined ? '-' : form(value));

const FORMS = { share: percent, seconds: time, count: (value) => `${Number(value.toFixed(1))}`, rate: (value) => `${value.toPrecision(2)}` };

/** How much of what, from where on that is much, and how often. */
export function finding({ value, unit, figure, limit, share_of_time: often }) {
  const form = FORMS[unit] ?? String;
  const time = often > 0.99 ? 'all the time' : `${percent(often)} of the time`;
  return `${form(value)} ${figure} (much is ${form(limit)}), ${time}`;
}
