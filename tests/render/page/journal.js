// What becomes of the panels, for the report.

import { cutTexts, isTooWide } from './measure.js';

const STATES = ['data', 'empty', 'error', 'logs', 'text'];

export class Journal {
  #panels;
  #variables;
  annotations = [];

  constructor(model, variables) {
    this.#variables = variables;
    this.#panels = new Map(
      model.panels
        .flatMap((panel) => [panel, ...(panel.panels ?? [])])
        .filter(({ type }) => type !== 'row')
        .map(({ id, title, type }) => [id, { id, title, type }]),
    );
  }

  /** What a panel found. The first error stays, whatever is drawn afterwards. */
  note(id, { state, ...details }) {
    if (!STATES.includes(state)) throw new Error(`no panel can be ${state}`);
    const panel = this.#panels.get(id);
    if (panel.state !== 'error') Object.assign(panel, { state, ...details });
  }

  get settled() {
    return [...this.#panels.values()].every(({ state }) => state);
  }

  /** `screen` is the height of the first screen. */
  report(screen) {
    const panels = [...this.#panels.values()].map((panel) => {
      const element = document.querySelector(`[data-panel="${panel.id}"]`);
      const { bottom } = element.getBoundingClientRect();
      return { ...panel, isOnFirstScreen: bottom <= screen, cut: cutTexts(element), isTooWide: isTooWide(element) };
    });
    const variables = Object.fromEntries([...this.#variables].map(([name, { text, options }]) => [name, { text, options }]));
    return { panels, variables, annotations: this.annotations, height: document.documentElement.scrollHeight };
  }
}
