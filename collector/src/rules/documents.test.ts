/** Every shipped rule can be understood at night, and every example in the documents is a configuration that is taken. */
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { loadOptions } from '@tidemark/service';
import { expect, onTestFinished, test } from 'vitest';
import { collectorOptions } from '../config.ts';
import { SHIPPED_RULES } from './default-rules.ts';
import { rulesReference } from './reference.ts';

const docs = fileURLToPath(new URL('../../../docs', import.meta.url));
const runbooks = readdirSync(join(docs, 'runbooks')).filter((name) => /^[a-z-]+\.md$/.test(name));

test('a runbook for each rule, and none for another', () => {
  expect(runbooks.toSorted()).toEqual(SHIPPED_RULES.map(({ name }) => `${name}.md`).toSorted());
});

test.each(SHIPPED_RULES)('$name says what it means and where to look first', ({ name, annotations, inactiveBecause }) => {
  expect(annotations?.['summary']).toMatch(/^[A-Z].*\.$/);
  expect(annotations?.['description']).toMatch(/\.$/);
  const page = readFileSync(join(docs, 'runbooks', `${name}.md`), 'utf8');
  const sections =
    inactiveBecause === undefined
      ? ['What it means', 'Why it is believed', 'What to do, in order', 'How it was chosen']
      : ['What it means'];
  for (const section of sections) expect(page).toContain(`## ${section}\n`);
  expect(rulesReference()).toContain(`[${name}](../runbooks/${name}.md)`);
});

const documents = [...runbooks.map((name) => `runbooks/${name}`), 'how-to/thresholds.md', 'how-to/install-windows.md'];
const examples = documents.flatMap((name) =>
  [...readFileSync(join(docs, name), 'utf8').matchAll(/^```yaml\n(.*?)^```/gms)].map((match, i) => ({
    name: `${name} ${i + 1}`,
    text: match[1]!,
  })),
);
test.each(examples)('the example in $name', ({ text }) => {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-rules-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const file = join(directory, 'collector.yaml');
  writeFileSync(file, text);
  const { values } = loadOptions('tidemark-collector', collectorOptions, { flags: { config: file }, environment: {} });
  expect(values.rules.length + values.overrides.length).toBeGreaterThan(0);
});
