/** The page at /documentation/downloads/: the commands to copy, what each file is, how to check it. It needs no script; everything is put in as text, and every link is relative. */
import { RELEASE, SIGNATURE, SUMS, type Bundle } from './bundle.ts';
import type { ShelfState } from './shelf.ts';
import type { Script } from './templates.ts';

export interface DownloadsPage {
  /** This collector's own, as scripts get it. */
  address: string;
  state: ShelfState;
  /** Those that this installation has. */
  scripts: readonly Pick<Script, 'name' | 'what'>[];
  /** The key that SHA256SUMS is signed with; undefined when it cannot be used. */
  publicPem: string | undefined;
  authority: { fingerprint: string } | undefined;
  /** What becomes of a machine that asks to join without a token. */
  policy: 'open' | 'approve' | 'token';
}

export function downloadsPage(page: DownloadsPage): string {
  const { address, state, authority } = page;
  const own = authority !== undefined;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>Downloads · Tidemark</title>
<link rel="icon" type="image/svg+xml" href="../../favicon.svg">
<link rel="stylesheet" href="page.css">
</head>
<body>
<nav aria-label="Console"><a href="../../">Console</a> <a href="../../add-node">Add a node</a></nav>
<main>
<h1>Watch another server</h1>
<p class="lead">One command installs the agent, and ends only when this collector has confirmed its first report. Nothing else is needed on the server: no internet, no Node.js.</p>
${authority === undefined ? '' : trustFirst(address, authority.fingerprint)}
<div class="systems">
<section aria-labelledby="linux">
<h2 id="linux">Linux</h2>
${code(linuxCommands(address, own))}
</section>
<section aria-labelledby="windows">
<h2 id="windows">Windows <small>PowerShell as administrator</small></h2>
${code(windowsCommands(address, own))}
</section>
</div>
<p>Put what the server is to be called in place of NAME. ${JOINING[page.policy]}</p>
${stateOf(state)}
<h2>Files</h2>
${filesOf(page)}
<h2>Check what you have</h2>
<p>The scripts do this by themselves. By hand, against the list of sums:</p>
${code(`${curl(own)} -O ${address}/documentation/downloads/${SUMS}\nsha256sum --check --ignore-missing ${SUMS}`)}
${signatureOf(page)}
<h2>Remove the agent</h2>
<p>What the agent has stored goes only with <code>--purge</code> (<code>-Purge</code>).</p>
<div class="systems">
<div>${code(`${curl(own)} -o agent-uninstall-linux.sh ${address}/documentation/downloads/agent-uninstall-linux.sh\nsudo sh ./agent-uninstall-linux.sh`)}</div>
<div>${code(`${windowsDownload('agent-uninstall-windows.ps1', address, own)}\n.\\agent-uninstall-windows.ps1`)}</div>
</div>
</main>
</body>
</html>
`;
}

const JOINING = {
  open: 'It is taken in at once.',
  approve:
    'It then waits until a person approves it: in the console, or with <code>tidemark-collector nodes approve NAME</code>. The script says so, and nothing that was measured meanwhile is lost.',
  token:
    'This collector takes nodes with an enrolment token only: make one in the console or with <code>tidemark-collector enroll</code>, put it into a file, and name the file with <code>--token-file</code> (<code>-TokenFile</code>).',
} as const;

/** As the users' own instructions have them, with this collector's address. With an authority of its own they need to be told of it. */
function linuxCommands(address: string, ownAuthority: boolean): string {
  return `${curl(ownAuthority)} -o agent-install-linux.sh ${address}/documentation/downloads/agent-install-linux.sh
chmod +x agent-install-linux.sh
sudo ./agent-install-linux.sh --server "${address}" --hostname "NAME" --interval 60`;
}

function windowsCommands(address: string, ownAuthority: boolean): string {
  return `${windowsDownload('agent-install-windows.ps1', address, ownAuthority)}
.\\agent-install-windows.ps1 -Server "${address}" -HostName "NAME" -Interval 60`;
}

const curl = (ownAuthority: boolean): string => (ownAuthority ? 'curl --cacert tidemark-ca.pem' : 'curl');

/** Windows PowerShell can be told of no authority but the machine's; curl, which comes with Windows, can. */
function windowsDownload(name: string, address: string, ownAuthority: boolean): string {
  const url = `${address}/documentation/downloads/${name}`;
  if (ownAuthority) return `curl.exe --ssl-no-revoke --cacert tidemark-ca.pem -o ${name} ${url}`;
  return `Invoke-WebRequest -UseBasicParsing -Uri "${url}" \`\n  -OutFile ${name}`;
}

function trustFirst(address: string, fingerprint: string): string {
  return `<h2>First, its certificate</h2>
<p>This collector vouches for itself. Fetch its authority and compare the fingerprint with this one, read on a screen that you trust:</p>
<p><code>${pairs(fingerprint)}</code></p>
${code(`curl --insecure -o tidemark-ca.pem ${address}/documentation/downloads/ca.pem\nopenssl x509 -in tidemark-ca.pem -noout -fingerprint -sha256`)}`;
}

/** As OpenSSL and Windows show it. */
const pairs = (hex: string): string => escaped(hex.toUpperCase().match(/../g)?.join(':') ?? '');

function stateOf(state: ShelfState): string {
  if (state.kind === 'ready') return '';
  if (state.kind === 'unavailable')
    return `<p class="note bad" role="status"><strong>The files cannot be had just now.</strong> ${escaped(state.sentence)}</p>`;
  const { percent, what } = state.progress;
  return `<p class="note" role="status"><strong>The files are being prepared.</strong> ${escaped(what)} <progress max="100" value="${percent}">${percent} %</progress> <a href="./">Look again</a></p>`;
}

function filesOf({ state, scripts, authority }: DownloadsPage): string {
  const bundle = state.kind === 'ready' ? state.bundle : undefined;
  const rows = [
    ...scripts.map(({ name, what }) => row(name, what)),
    ...(bundle === undefined ? [] : [...bundle.files.values()].map((file) => row(file.name, describe(file.name, bundle), file))),
    ...(bundle === undefined
      ? []
      : [row(SUMS, 'the sum of each file'), row(SIGNATURE, 'its Ed25519 signature'), row(RELEASE, 'the same for programs')]),
    ...(authority === undefined ? [] : [row('ca.pem', 'the authority that this collector made for itself')]),
  ];
  return `<table><thead><tr><th>File</th><th>What it is</th><th class="size">Size</th></tr></thead><tbody>\n${rows.join('\n')}\n</tbody></table>`;
}

function row(name: string, what: string, file?: { sha256: string; sizeBytes: number; fault: string | undefined }): string {
  const sum = file === undefined ? '' : `<br><code class="sum">${file.sha256}</code>`;
  const said = file?.fault === undefined ? escaped(what) : `<strong class="fault">${escaped(file.fault)}, and so is not served</strong>`;
  return `<tr><td><a href="${escaped(name)}">${escaped(name)}</a>${sum}</td><td>${said}</td><td class="size">${file === undefined ? '' : size(file.sizeBytes)}</td></tr>`;
}

function describe(name: string, { node, version }: Bundle): string {
  const [, system, processor] = /^tidemark-runtime-.*-(linux|win)-([a-z0-9]+)\./.exec(name) ?? [];
  if (system !== undefined)
    return `Node.js ${node} for ${system === 'win' ? 'Windows' : 'Linux'}, ${processor}${name.endsWith('.gz') ? ', where there is no xz' : ''}`;
  if (name.startsWith('tidemark-agent-')) return `the agent ${version}${name.endsWith('.zip') ? ' for Windows' : ' for Linux'}`;
  return '';
}

function signatureOf({ address, publicPem, authority }: DownloadsPage): string {
  if (publicPem === undefined) return '';
  return `<p>That the list is this collector's own, with OpenSSL 3. The key is worth what the way is worth by which you got it; the agent's installer keeps the first it saw and refuses another.</p>
${code(`cat > tidemark-downloads.pem <<'END'\n${publicPem.trim()}\nEND\n${curl(authority !== undefined)} -O ${address}/documentation/downloads/${SIGNATURE}\nopenssl pkeyutl -verify -pubin -inkey tidemark-downloads.pem -rawin -in ${SUMS} -sigfile ${SIGNATURE}`)}`;
}

const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
/** Wide commands are scrolled, by keyboard too. */
const code = (text: string): string => `<pre tabindex="0"><code>${escaped(text)}</code></pre>`;
const size = (bytes: number): string => (bytes < 1e6 ? `${Math.max(Math.round(bytes / 1e3), 1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`);

export const DOWNLOADS_STYLE = `
:root {
  color-scheme: light dark;
  --ground: light-dark(#f4f7f7, #0b1316); --surface: light-dark(#fff, #101b1f); --raised: light-dark(#eaf0f0, #17262b); --line: light-dark(#dce5e6, #1d2d32);
  --text: light-dark(#12262c, #dde8ea); --muted: light-dark(#52686e, #8ea4aa); --accent: light-dark(#0b6d76, #62c9ca);
  --bad: light-dark(#b92c22, #ff8375); --bad-ground: light-dark(#fdeeec, #2a1917);
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--text); font: 15px/1.6 system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif; }
nav, main { max-width: 64rem; margin: 0 auto; padding: 0 clamp(16px, 3vw, 32px); }
nav { display: flex; gap: 20px; padding-block: 14px; font-size: 14px; }
main { padding-bottom: 80px; }
h1 { font-size: 26px; font-weight: 640; line-height: 1.25; margin: 20px 0 8px; }
h2 { font-size: 17px; font-weight: 620; margin: 36px 0 6px; }
small { font-size: 13px; font-weight: 400; color: var(--muted); margin-left: 6px; }
p { margin: 8px 0; max-width: 46rem; }
.lead { color: var(--muted); font-size: 16px; }
a { color: var(--accent); }
.systems { display: grid; gap: 16px; margin: 20px 0; }
.systems h2 { margin: 0 0 8px; }
.systems > * { min-width: 0; }
section { background: var(--surface); border: 1px solid var(--line); border-radius: 8px; padding: 14px 16px 16px; }
code, pre { font: 13px/1.6 ui-monospace, 'SF Mono', 'Cascadia Mono', Menlo, Consolas, 'Liberation Mono', monospace; }
code { background: var(--raised); padding: 1px 5px; border-radius: 4px; overflow-wrap: anywhere; }
pre { margin: 8px 0; background: var(--raised); border: 1px solid var(--line); border-radius: 6px; padding: 10px 14px; overflow-x: auto; }
section pre, div pre { margin: 0; }
pre code { background: none; padding: 0; overflow-wrap: normal; }
.note { background: var(--raised); border-left: 3px solid var(--accent); border-radius: 4px; padding: 10px 14px; margin: 20px 0; }
.note.bad { background: var(--bad-ground); border-color: var(--bad); }
.fault { color: var(--bad); }
progress { display: block; width: 100%; height: 8px; margin-top: 8px; accent-color: var(--accent); }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; vertical-align: top; padding: 8px 16px 8px 0; border-bottom: 1px solid var(--line); }
th { color: var(--muted); font-size: 13px; font-weight: 600; }
td:first-child a { overflow-wrap: anywhere; font-weight: 560; }
.size { text-align: right; white-space: nowrap; padding-right: 0; font-variant-numeric: tabular-nums; }
.sum { font-size: 11.5px; background: none; padding: 0; color: var(--muted); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: 3px; }
@media (max-width: 44rem) {
  thead { display: none; }
  tbody, tr, td { display: block; }
  td { border: 0; padding: 0; }
  tr { display: grid; grid-template-columns: 1fr auto; gap: 0 12px; padding: 10px 0; border-bottom: 1px solid var(--line); }
  td:first-child { grid-column: 1 / -1; }
}
`;
