/** The page at /api/docs: reads /api/openapi.json and shows it, with no library and no request to anywhere else. */

export const DOCUMENTATION_PAGE = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tidemark API</title>
<link rel="stylesheet" href="docs/page.css">
<main id="page"><p>Reading the description …</p></main>
<script src="docs/page.js" type="module"></script>
</html>
`;

export const DOCUMENTATION_STYLE = `
:root { color-scheme: light dark; --line: light-dark(#d9dee3, #2b333b); --soft: light-dark(#f4f6f8, #171c21); --dim: light-dark(#5a6672, #93a1ad); --get: light-dark(#0b6b53, #4fc3a1); --write: light-dark(#8a4b00, #e0a458); }
body { margin: 0; font: 15px/1.5 system-ui, sans-serif; background: light-dark(#fff, #101418); color: light-dark(#16202a, #dfe6ec); }
main { max-width: 60rem; margin: 0 auto; padding: 2rem 1.25rem 6rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2.5rem 0 .5rem; text-transform: capitalize; }
.dim { color: var(--dim); } code, pre { font: 13px/1.45 ui-monospace, monospace; }
details { border-top: 1px solid var(--line); } details:last-of-type { border-bottom: 1px solid var(--line); }
summary { cursor: pointer; padding: .55rem 0; display: flex; gap: .75rem; align-items: baseline; flex-wrap: wrap; }
summary b { font: 600 12px ui-monospace, monospace; min-width: 3.6rem; color: var(--write); } summary b.get { color: var(--get); }
pre { background: var(--soft); padding: .75rem; overflow-x: auto; border-radius: 6px; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid var(--line); }
`;

export const DOCUMENTATION_SCRIPT = `
const make = (tag, text, ...children) => { const e = document.createElement(tag); if (text) e.textContent = text; e.append(...children); return e; };
const shape = (s, indent = '') => {
  if (!s) return 'anything';
  if (s.const !== undefined) return JSON.stringify(s.const);
  if (s.anyOf) return s.anyOf.map((x) => shape(x, indent)).join(' | ');
  if (s.allOf) return s.allOf.map((x) => shape(x, indent)).join(' & ');
  if (s.type === 'array') return '[' + shape(Array.isArray(s.items) ? { anyOf: s.items } : s.items, indent) + ', …]';
  if (s.type === 'object' && s.properties) {
    const inner = indent + '  ';
    return '{\\n' + Object.entries(s.properties).map(([k, v]) => inner + k + ((s.required || []).includes(k) ? '' : '?') + ': ' + shape(v, inner) + (v.description ? '   // ' + v.description : '')).join('\\n') + '\\n' + indent + '}';
  }
  if (s.type === 'object') return '{ name: ' + shape(Object.values(s.patternProperties || {})[0] || s.additionalProperties || undefined, indent) + ', … }';
  return [s.type || 'anything', s.minimum !== undefined ? '≥ ' + s.minimum : '', s.maximum !== undefined ? '≤ ' + s.maximum : ''].filter(Boolean).join(' ');
};
const body = (content) => { const [type, c] = Object.entries(content || {})[0] || []; return type ? make('pre', shape(c.schema)) : make('p', 'no body'); };
const operation = (path, method, o) => {
  const verb = make('b', method.toUpperCase()); if (method === 'get') verb.className = 'get';
  const words = make('span', o.summary); words.className = 'dim';
  const d = make('details', '', make('summary', '', verb, make('code', path), words));
  if (o.description) d.append(make('p', o.description));
  if (o.parameters?.length) {
    const t = make('table', '', make('tr', '', make('th', 'parameter'), make('th', 'in'), make('th', 'form'), make('th', '')));
    for (const p of o.parameters) t.append(make('tr', '', make('td', '', make('code', p.name + (p.required ? '' : '?'))), make('td', p.in), make('td', shape(p.schema)), make('td', p.description || p.schema?.description || '')));
    d.append(t);
  }
  if (o.requestBody) d.append(make('h3', 'Request'), body(o.requestBody.content));
  for (const [status, r] of Object.entries(o.responses || {})) d.append(make('h3', status), body(r.content));
  return d;
};
const page = document.getElementById('page');
try {
  const api = await (await fetch('openapi.json')).json();
  const groups = new Map();
  for (const [path, methods] of Object.entries(api.paths)) for (const [method, o] of Object.entries(methods)) {
    const group = (o.tags || ['other'])[0];
    groups.set(group, [...(groups.get(group) || []), operation(path, method, o)]);
  }
  const about = make('p', api.info.description); about.className = 'dim';
  page.replaceChildren(make('h1', api.info.title + ' API ' + api.info.version), about);
  for (const [group, operations] of groups) page.append(make('h2', group), ...operations);
} catch (error) { page.replaceChildren(make('p', 'The description could not be read: ' + error.message)); }
`;
