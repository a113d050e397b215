/** The page at /api/docs: reads /api/openapi.json and shows it, with no library and no request to anywhere else. Everything is put in as text, never as HTML. */

/** @param prefix the path below which browsers find this collector, or empty. */
export const documentationPage = (prefix: string): string => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>Tidemark API</title>
<link rel="icon" type="image/svg+xml" href="${prefix}/favicon.svg">
<link rel="stylesheet" href="${prefix}/api/docs/page.css">
<script src="${prefix}/api/docs/page.js" type="module"></script>
</head>
<body>
<nav aria-label="Operations"></nav>
<main><p>Reading the description …</p></main>
<noscript>This page needs JavaScript. The description itself is at /api/openapi.json.</noscript>
</body>
</html>
`;

export const DOCUMENTATION_STYLE = `
:root {
  color-scheme: light dark;
  --ground: light-dark(#f4f7f7, #0b1316); --surface: light-dark(#fff, #101b1f); --raised: light-dark(#eaf0f0, #17262b);
  --line: light-dark(#dce5e6, #1d2d32); --text: light-dark(#12262c, #dde8ea); --muted: light-dark(#52686e, #8ea4aa);
  --accent: light-dark(#0b6d76, #62c9ca); --write: light-dark(#8a5600, #e6b052);
}
:root[data-theme='light'] { color-scheme: light; }
:root[data-theme='dark'] { color-scheme: dark; }
* { box-sizing: border-box; }
body { margin: 0; display: grid; grid-template-columns: 17rem minmax(0, 58rem); background: var(--ground); color: var(--text); font: 14px/1.5 system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif; }
nav { position: sticky; top: 0; height: 100vh; overflow-y: auto; padding: 20px 12px 40px 24px; border-right: 1px solid var(--line); }
nav h2 { font-size: 12px; font-weight: 620; margin: 18px 0 4px; color: var(--muted); text-transform: capitalize; }
nav a { display: block; color: var(--text); text-decoration: none; padding: 2px 0; overflow-wrap: anywhere; font-size: 13px; }
nav a:hover { color: var(--accent); }
main { padding: 20px 32px 80px; }
h1 { font-size: 20px; font-weight: 620; margin: 0 0 4px; }
main h2 { font-size: 16px; font-weight: 620; margin: 40px 0 0; text-transform: capitalize; }
h3 { font-size: 13px; font-weight: 620; margin: 16px 0 4px; }
p { margin: 4px 0; }
.muted { color: var(--muted); }
section { background: var(--surface); border: 1px solid var(--line); border-radius: 6px; padding: 12px 16px 14px; margin: 12px 0; scroll-margin-top: 12px; }
section:target { border-color: var(--accent); }
.address { display: flex; flex-wrap: wrap; gap: 4px 12px; align-items: baseline; }
.verb { font-weight: 700; color: var(--write); } .verb.get { color: var(--accent); }
.who { margin-left: auto; color: var(--muted); font-size: 13px; }
code, pre { font: 12.5px/1.55 ui-monospace, 'SF Mono', 'Cascadia Mono', Menlo, Consolas, 'Liberation Mono', monospace; }
pre { background: var(--raised); padding: 10px 12px; margin: 4px 0; white-space: pre-wrap; overflow-wrap: anywhere; border-radius: 4px; }
pre i { font-style: normal; color: var(--muted); }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; vertical-align: top; padding: 4px 12px 4px 0; border-bottom: 1px solid var(--line); font-weight: inherit; }
th { color: var(--muted); font-size: 13px; }
a { color: var(--accent); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: 3px; }
@media (max-width: 52rem) { body { display: block; } nav { position: static; height: auto; border-right: 0; border-bottom: 1px solid var(--line); padding: 12px 16px; } main { padding: 16px; } }
`;

export const DOCUMENTATION_SCRIPT = `
/** Wherever this collector stands: this file is at api/docs/page.js below it. */
const at = (path) => new URL('../../' + path, import.meta.url).pathname;
const make = (tag, { text, ...attributes } = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  element.append(...children);
  return element;
};
try { const theme = localStorage.getItem('tidemark.theme'); if (theme) document.documentElement.dataset.theme = theme; } catch {}

/** A schema as lines one can read: a list of strings, and of remarks to be shown fainter. */
function shape(schema, indent = '') {
  if (schema === undefined || schema === true) return ['anything'];
  if (schema.const !== undefined) return [JSON.stringify(schema.const)];
  if (schema.enum) return [schema.enum.map((value) => JSON.stringify(value)).join(' | ')];
  const joined = (schemas, between) => schemas.flatMap((one, i) => (i === 0 ? shape(one, indent) : [between, ...shape(one, indent)]));
  if (schema.anyOf) return joined(schema.anyOf, ' | ');
  if (schema.allOf) return joined(schema.allOf, ' & ');
  if (schema.prefixItems) return ['[', ...joined(schema.prefixItems, ', '), ']'];
  if (schema.type === 'array') return ['[', ...shape(schema.items, indent), ', …]'];
  if (schema.type !== 'object') {
    if (schema.description && schema.type === 'string') return ['string'];
    const bounds = [['minimum', '≥ '], ['maximum', '≤ '], ['minLength', 'characters ≥ '], ['maxLength', 'characters ≤ ']];
    return [[schema.type ?? 'anything', ...bounds.filter(([key]) => schema[key] !== undefined).map(([key, word]) => word + schema[key])].join(' ')];
  }
  const inner = indent + '  ';
  if (schema.properties) {
    const lines = Object.entries(schema.properties).flatMap(([name, value]) => {
      const optional = (schema.required ?? []).includes(name) ? '' : '?';
      const remark = value.description ? [{ remark: '  ' + value.description }] : [];
      return ['\\n' + inner + name + optional + ': ', ...shape(value, inner), ...remark];
    });
    return ['{', ...lines, '\\n' + indent + '}'];
  }
  const any = Object.values(schema.patternProperties ?? {})[0] ?? schema.additionalProperties;
  return ['{ name: ', ...shape(any || undefined, indent), ', … }'];
}
const shown = (schema) => make('pre', { tabindex: '0' }, ...shape(schema).map((part) => (typeof part === 'string' ? part : make('i', { text: part.remark }))));
const bodyOf = (content) => {
  const [type, body] = Object.entries(content ?? {})[0] ?? [];
  if (type === undefined) return [make('p', { class: 'muted', text: 'No body.' })];
  return [...(type.startsWith('application/json') ? [] : [make('p', { class: 'muted', text: type })]), shown(body.schema)];
};
const WHO = { token: 'read', adminToken: 'admin', agentToken: 'agents' };
const whoMay = (security) => (security.length === 0 ? 'anyone' : WHO[Object.keys(security[0])[0]] ?? '');

function operation(path, method, op) {
  const verb = make('code', { class: 'verb ' + method, text: method.toUpperCase() });
  const section = make('section', { id: method + path }, make('div', { class: 'address' }, verb, make('code', { text: path }), make('span', { class: 'who', text: whoMay(op.security ?? []) })));
  section.append(make('p', { text: op.summary + '.' }));
  if (op.description) section.append(make('p', { class: 'muted', text: op.description }));
  if (op.parameters?.length) {
    const rows = op.parameters.map((p) => make('tr', {}, make('td', {}, make('code', { text: p.name + (p.required ? '' : '?') })), make('td', { text: p.in }), make('td', { text: p.description ?? p.schema?.description ?? '' })));
    section.append(make('h3', { text: 'Parameters' }), make('table', {}, ...rows));
  }
  if (op.requestBody) section.append(make('h3', { text: 'Request' }), ...bodyOf(op.requestBody.content));
  for (const [status, response] of Object.entries(op.responses ?? {})) {
    if (status !== 'default') section.append(make('h3', { text: status }), ...bodyOf(response.content));
  }
  return section;
}

function show(api) {
  const [nav, main] = [document.querySelector('nav'), document.querySelector('main')];
  main.replaceChildren(make('h1', { text: api.info.title + ' API ' + api.info.version }), make('p', { class: 'muted', text: api.info.description }), make('p', {}, make('a', { href: at('api/openapi.json'), text: 'openapi.json' })));
  for (const { name, description } of api.tags) {
    const operations = Object.entries(api.paths).flatMap(([path, methods]) => Object.entries(methods).filter(([, op]) => op.tags.includes(name)).map(([method, op]) => ({ path, method, op })));
    if (operations.length === 0) continue;
    nav.append(make('h2', { text: name }), ...operations.map(({ path, method, op }) => make('a', { href: '#' + method + path, text: op.summary })));
    main.append(make('h2', { text: name }), make('p', { class: 'muted', text: description }), ...operations.map(({ path, method, op }) => operation(path, method, op)));
  }
  const refusal = Object.values(Object.values(api.paths)[0])[0].responses.default;
  main.append(make('h2', { text: 'Refusals' }), make('section', {}, make('p', { text: 'Every status from 400 on, at every address:' }), shown(refusal.content['application/problem+json'].schema)));
  if (location.hash) document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
}

const said = (...parts) => document.querySelector('main').replaceChildren(make('h1', { text: 'Tidemark API' }), make('p', {}, ...parts));
try {
  const answer = await fetch(at('api/openapi.json'), { credentials: 'same-origin' });
  if (answer.status === 401) said(make('a', { href: at(''), text: 'Sign in' }), ' first, then come back to this page.');
  else if (answer.ok) show(await answer.json());
  else said('The collector answers with ' + answer.status + '.');
} catch (error) {
  said('The description could not be read: ' + error.message);
}
`;
