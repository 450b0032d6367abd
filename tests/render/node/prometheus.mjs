// What the program itself asks of Prometheus. The dashboards' queries come from the page.

const SECONDS = { ms: 0.001, s: 1, m: 60, h: 3600, d: 86400 };

/** Seconds of a duration as Prometheus writes it, 1m30s. */
function seconds(duration) {
  const parts = [...duration.matchAll(/(\d+)(ms|[smhd])/g)];
  return parts.reduce((sum, [, number, unit]) => sum + Number(number) * SECONDS[unit], 0);
}

/**
 * The scrape interval that an administrator would set in Grafana's data source: $__rate_interval depends on it, and
 * with a wrong one every rate is either empty or too smooth.
 */
export async function scrapeInterval(prometheus) {
  const response = await fetch(new URL('/api/v1/targets?state=active', prometheus));
  if (!response.ok) throw new Error(`Prometheus does not say its targets: ${response.status}`);
  const targets = (await response.json()).data.activeTargets;
  const target = targets.find((one) => one.labels.job === 'sessionscope') ?? targets[0];
  if (!target) throw new Error('Prometheus scrapes nothing; give --scrape');
  return seconds(target.scrapeInterval);
}
