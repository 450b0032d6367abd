// Names that the types take as any text: units and colours. Grafana writes an unknown unit behind the figure as it is,
// and an unknown colour is none.

import { createRequire } from 'node:module';

// The formats of dates ask the browser for its language, and Node has one only from version 21 on.
globalThis.navigator ??= { language: 'en', languages: ['en'] };
const { createTheme, getValueFormats } = createRequire(import.meta.url)('@grafana/data');

const UNITS = new Set(getValueFormats().flatMap(({ submenu }) => submenu.map(({ value }) => value)));
/** Units that are made on the spot: suffix:fps. */
const OWN_UNIT = /^(prefix|suffix|time|si|count|currency|bool):./;
const { visualization } = createTheme();
const COLORS = new Set(visualization.hues.flatMap(({ shades }) => shades.flatMap(({ name, aliases = [] }) => [name, ...aliases])));
const OWN_COLOR = /^(#[0-9a-f]{3,8}|rgba?\(.*\)|transparent|text)$/i;

const CHECKS = {
  unit: [(name) => name === '' || UNITS.has(name) || OWN_UNIT.test(name), 'unit'],
  color: [(name) => COLORS.has(name) || OWN_COLOR.test(name), 'colour'],
  fixedColor: [(name) => COLORS.has(name) || OWN_COLOR.test(name), 'colour'],
  iconColor: [(name) => COLORS.has(name) || OWN_COLOR.test(name), 'colour'],
};

/** Finds unknown names in a dashboard, with their paths. */
export function unknownNames(value, path = '') {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => {
    const below = Array.isArray(value) ? `${path}[${key}]` : `${path}.${key}`;
    // An override has the name of what it sets beside the value.
    const name = key === 'value' && typeof value.id === 'string' ? value.id : key;
    const [isKnown, what] = CHECKS[name] ?? [];
    if (typeof inner === 'string' && isKnown && !isKnown(inner)) return [{ path: below, message: `there is no ${what} ${inner}` }];
    return unknownNames(inner, below);
  });
}
