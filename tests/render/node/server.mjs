// Serves the page to the one browser that this program starts, and passes its queries on to Prometheus: a page may ask
// only the address that it came from.

import { createReadStream, existsSync } from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import { dirname, extname, join, normalize } from 'node:path';

const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.json': 'application/json', '.svg': 'image/svg+xml', '.woff2': 'font/woff2' };

/** Grafana resets what browsers add, in a style sheet that is not among its packages. */
const RESET = 'body { margin: 0 } table { border-collapse: collapse; border-spacing: 0 } button { background: none; border: 0; padding: 0; color: inherit; font: inherit } th { text-align: left }';

const PAGE = `<!doctype html><html><head><meta charset="utf-8"><title>drawing</title>
<link rel="icon" href="data:,"><link rel="stylesheet" href="/main.css"><style>${RESET}</style></head>
<body><div id="root"></div><script type="module" src="/main.js"></script></body></html>`;

const require = createRequire(import.meta.url);
const packageFolder = (name) => dirname(require.resolve(`${name}/package.json`));
const ICONS = join(packageFolder('@grafana/ui'), 'dist', 'public', 'img', 'icons');
const FONTS = join(packageFolder('@fontsource/inter'), 'files');

/** Grafana serves Inter under its own names. Without it every text has another width, and nothing is cut off where Grafana cuts. */
const FONT_FILES = {
  'Inter-Regular.woff2': 'inter-latin-400-normal.woff2',
  'Inter-Medium.woff2': 'inter-latin-500-normal.woff2',
  'Inter-Italic.woff2': 'inter-latin-400-italic.woff2',
  'Inter-MediumItalic.woff2': 'inter-latin-500-italic.woff2',
};

/** The file that a path of the page stands for, or nothing. */
function fileOf(path, { assets, dashboards }) {
  const below = (folder, prefix) => {
    const rest = normalize(path.slice(prefix.length));
    return rest.startsWith('..') ? undefined : join(folder, rest);
  };
  if (path === '/main.js' || path === '/main.css') return join(assets, path);
  if (path.startsWith('/dashboards/')) return below(dashboards, '/dashboards/');
  if (path.startsWith('/public/build/img/icons/')) return below(ICONS, '/public/build/img/icons/');
  const font = path.startsWith('/public/fonts/inter/') && FONT_FILES[path.slice('/public/fonts/inter/'.length)];
  return font ? join(FONTS, font) : undefined;
}

function passOn(request, response, prometheus) {
  const target = new URL(request.url, prometheus);
  const onwards = http.request(target, { method: request.method, headers: { ...request.headers, host: target.host } }, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
  });
  onwards.on('error', (error) => {
    response.writeHead(502, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ status: 'error', error: String(error) }));
  });
  request.pipe(onwards);
}

/** Listens on a free port of this machine. */
export function serve({ assets, dashboards, prometheus, setup }) {
  const send = (response, type, text) => {
    response.writeHead(200, { 'content-type': type });
    response.end(text);
  };
  const server = http.createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url, 'http://localhost').pathname);
    if (path.startsWith('/api/')) return passOn(request, response, prometheus);
    if (path === '/') return send(response, TYPES['.html'], PAGE);
    if (path === '/setup.json') return send(response, TYPES['.json'], JSON.stringify(setup));
    const file = fileOf(path, { assets, dashboards });
    if (!file || !existsSync(file)) {
      response.writeHead(404);
      return response.end();
    }
    response.writeHead(200, { 'content-type': TYPES[extname(file)] ?? 'application/octet-stream' });
    return createReadStream(file).pipe(response);
  });
  return new Promise((done, failed) => {
    server.on('error', failed);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      const close = () => {
        server.close();
        server.closeAllConnections();
      };
      done({ url: `http://127.0.0.1:${port}`, close });
    });
  });
}
