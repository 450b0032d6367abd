// The page: reads which dashboard it is to show, draws it as Grafana would, and reports what became of it.

import { createTheme, ThemeContext } from '@grafana/data';
import { initPluginTranslations } from '@grafana/i18n';
import { GlobalStyles, PortalContainer } from '@grafana/ui';
import { createRoot } from 'react-dom/client';

import { askAnnotations } from './annotations.js';
import { Dashboard } from './dashboard.jsx';
import { Journal } from './journal.js';
import { secondsBack } from './times.js';
import { resolveVariables } from './variables.js';

window.__grafana_public_path__ = '/public/';

async function json(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}

async function main() {
  const name = new URLSearchParams(location.search).get('dashboard');
  const [setup, model] = await Promise.all([json('/setup.json'), json(`/dashboards/${name}.json`), initPluginTranslations('grafana')]);
  const theme = createTheme({ colors: { mode: 'dark' } });
  const span = setup.span ?? secondsBack(model.time.from);
  const range = { from: setup.now - span, to: setup.now };
  const variables = await resolveVariables(model.templating.list, range);
  const journal = new Journal(model, variables);
  journal.annotations = await askAnnotations(model, variables, range, setup.scrape);
  const context = { range, scrape: setup.scrape, isShortened: setup.span !== undefined, variables, theme, journal };

  window.sessionscope = {
    get settled() {
      return journal.settled;
    },
    report: (screen) => journal.report(screen),
  };
  createRoot(document.getElementById('root')).render(
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <Dashboard model={model} context={context} />
      <PortalContainer />
    </ThemeContext.Provider>,
  );
}

// Whoever waits for the panels need not wait for what never comes.
main().catch((error) => {
  window.sessionscope = { failed: error.message };
});
