/** How a runbook looks: one column of text that a tired person can read on a phone, dark and light as the system says. */
export const RUNBOOK_STYLE = `
:root {
  color-scheme: light dark;
  --ground: light-dark(#f4f7f7, #0b1316); --raised: light-dark(#eaf0f0, #17262b); --line: light-dark(#dce5e6, #1d2d32);
  --text: light-dark(#12262c, #dde8ea); --muted: light-dark(#52686e, #8ea4aa); --accent: light-dark(#0b6d76, #62c9ca);
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--text); font: 16px/1.6 system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif; }
nav, main { max-width: 46rem; margin: 0 auto; padding: 0 20px; }
nav { display: flex; gap: 20px; padding-block: 14px; font-size: 14px; }
main { padding-bottom: 80px; }
h1 { font-size: 26px; line-height: 1.25; margin: 16px 0; text-wrap: balance; }
h2 { font-size: 18px; margin: 32px 0 8px; }
h3 { font-size: 16px; margin: 24px 0 4px; }
p, ul, ol { margin: 8px 0; }
li { margin: 4px 0; }
a { color: var(--accent); }
code, pre { font: 13.5px/1.55 ui-monospace, 'SF Mono', 'Cascadia Mono', Menlo, Consolas, monospace; }
code { background: var(--raised); padding: 1px 5px; border-radius: 4px; overflow-wrap: anywhere; }
pre { background: var(--raised); border: 1px solid var(--line); padding: 12px 14px; border-radius: 6px; overflow-x: auto; }
pre code { background: none; padding: 0; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
td, th { text-align: left; vertical-align: top; padding: 6px 16px 6px 0; border-bottom: 1px solid var(--line); }
th { color: var(--muted); font-weight: 600; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: 3px; }
`;
