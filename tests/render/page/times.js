import { rangeUtil } from '@grafana/data';

/** Seconds back to a time as a dashboard writes it, now-3h. */
export function secondsBack(from) {
  const back = /^now-(\w+)$/.exec(from)?.[1];
  if (!back) throw new Error(`a dashboard begins at ${from}, which is not known here`);
  return rangeUtil.intervalToSeconds(back);
}
