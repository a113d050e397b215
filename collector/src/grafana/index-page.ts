/** The page at /grafana/dashboards/: what there is and how it gets into Grafana. It needs no script; everything is put in as text. */

export interface DashboardEntry {
  name: string;
  uid: string;
  title: string;
  description: string;
  /** The kind of data source it asks, for people. */
  source: string;
}

const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

/** The links are relative to this server, so that a signed-in browser takes its session along; `base` is for what is pasted elsewhere. */
export function indexPage(dashboards: readonly DashboardEntry[], provisioning: readonly string[], base: string): string {
  const prefix = new URL(base).pathname.replace(/\/+$/, '');
  const rows = dashboards
    .map(
      ({ name, title, description, source }) =>
        `<tr><td><a href="${prefix}/grafana/dashboards/${name}.json" download="tidemark-${name}.json">${escaped(title)}</a></td><td>${escaped(source)}</td><td>${escaped(description)}</td></tr>`,
    )
    .join('\n');
  const files = provisioning
    .map((path) => `<li><a href="${prefix}${path}">${path.replace('/grafana/provisioning/', '')}</a></li>`)
    .join('\n');
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>Grafana dashboards · Tidemark</title>
<link rel="icon" type="image/svg+xml" href="${prefix}/favicon.svg">
<link rel="stylesheet" href="${prefix}/runbooks/page.css">
</head>
<body>
<nav aria-label="Console"><a href="${prefix}/">Console</a> <a href="${prefix}/api/docs">API</a></nav>
<main>
<h1>Grafana dashboards</h1>
<p>To bring one in by hand: save it, then in Grafana <em>Dashboards → New → Import</em>.</p>
${rows === '' ? '<p>This installation has none.</p>' : `<table><thead><tr><th>Dashboard</th><th>Data source</th><th>What it shows</th></tr></thead><tbody>\n${rows}\n</tbody></table>`}
<h2>Provisioning</h2>
<p>To have Grafana keep them by itself: files for /etc/grafana/provisioning, each with what to do at its top.</p>
<ul>
${files}
</ul>
<h2>Alerts</h2>
<p>The rules in force, for Prometheus to judge as well: <a href="${prefix}/prometheus/rules.yml">/prometheus/rules.yml</a></p>
<h2>By script</h2>
<pre><code>curl -fsS -H @HEADER_FILE ${escaped(base)}/grafana/dashboards/fleet.json -o fleet.json</code></pre>
<p>HEADER_FILE holds one line, <code>Authorization: Bearer TOKEN</code>; a token: <code>tidemark-collector tokens add grafana --role read</code>.</p>
</main>
</body>
</html>
`;
}
