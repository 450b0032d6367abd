// A dashboard's transformations, with those of Grafana's package.

import { standardTransformers, standardTransformersRegistry, transformDataFrame } from '@grafana/data';
import { lastValueFrom } from 'rxjs';

// Some stand there under an old name as well.
const transformers = [...new Map(Object.values(standardTransformers).map((one) => [one.id, one])).values()];
standardTransformersRegistry.setInit(() => transformers.map((one) => ({
  id: one.id,
  name: one.name,
  transformation: () => Promise.resolve(one),
})));

/** Grafana passes over what it does not know, and the panel then shows columns that nobody wanted. */
export function transform(transformations = [], frames, interpolate) {
  const unknown = transformations.find(({ id }) => !standardTransformersRegistry.getIfExists(id));
  if (unknown) throw new Error(`no transformation is called ${unknown.id}`);
  return lastValueFrom(transformDataFrame(transformations, frames, { interpolate }));
}
