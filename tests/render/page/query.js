// A panel's data: asked for, transformed, and with the field settings applied.

import { applyFieldOverrides, cacheFieldDisplayNames, dateTime, rangeUtil } from '@grafana/data';

import { fieldConfig, fieldRegistry } from './fields.js';
import { heatmapFrames, seriesFrames, tableFrame } from './frames.js';
import { interpolateQuery, interpolateText } from './interpolate.js';
import { instant, range as askRange } from './prometheus.js';
import { transform } from './transform.js';

/** A range of time as Grafana's components take it. */
export function timeRange(from, to) {
  const ends = { from: dateTime(from * 1000), to: dateTime(to * 1000) };
  return { ...ends, raw: ends };
}

/** What a panel asks for: the dashboard's range, or its own. */
export function timesOf(panel, width, { range, scrape, isShortened }) {
  // Where somebody asks for a short span, there is no more data: a day of a panel's own would be empty but for its
  // end, and a step of a quarter of an hour would miss even that.
  const from = panel.timeFrom && !isShortened ? range.to - rangeUtil.intervalToSeconds(panel.timeFrom) : range.from;
  const least = panel.interval && !isShortened ? panel.interval : `${scrape}s`;
  const points = panel.maxDataPoints ?? Math.max(1, Math.round(width));
  const { intervalMs } = rangeUtil.calculateInterval(timeRange(from, range.to), points, least);
  return { from, to: range.to, span: range.to - from, step: Math.max(1, intervalMs / 1000), scrape };
}

async function frames(panel, target, times, variables) {
  const query = interpolateQuery(target.expr, variables, times);
  const asked = target.instant ? await instant(query, times.to) : await askRange(query, times.from, times.to, times.step);
  if (target.format === 'table') return tableFrame(target, asked, panel.targets.length);
  if (target.format === 'heatmap') return heatmapFrames(target, asked, times.step);
  return seriesFrames(target, asked, target.instant ? undefined : times.step);
}

/** Frames as Grafana hands them to a panel. */
export async function load(panel, times, { variables, theme }) {
  const wanted = panel.targets.filter((target) => !target.hide);
  const raw = (await Promise.all(wanted.map((target) => frames(panel, target, times, variables)))).flat();
  const replaceVariables = (text) => interpolateText(text, variables);
  const applied = applyFieldOverrides({
    data: await transform(panel.transformations, raw, replaceVariables),
    fieldConfig: fieldConfig(panel),
    fieldConfigRegistry: fieldRegistry(panel),
    replaceVariables,
    theme,
    timeZone: 'browser',
  });
  // The table takes its headings from there.
  cacheFieldDisplayNames(applied);
  return applied;
}
