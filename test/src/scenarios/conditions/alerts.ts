/** What is expected of alerts, and of what Prometheus is told. */
import type { AlertView } from '@tidemark/protocol';
import type { Values } from '../language/forms.ts';
import type { Condition, Look } from './condition.ts';

const alertsOf = (look: Look, values: Values): AlertView[] => {
  const [rule, server, level] = [values.maybeText('rule'), values.maybeText('server'), values.maybeText('level')];
  return look.alerts.filter(
    (alert) =>
      (rule === undefined || alert.rule === rule) &&
      (server === undefined || alert.node === look.nodeOf(server)) &&
      (level === undefined || alert.level === level),
  );
};

const show = (look: Look): string =>
  look.alerts.length === 0
    ? 'no alert is open'
    : `open: ${look.alerts.map(({ rule, level, node, why, suppressedBy }) => `${rule} ${level} on ${look.letterOf(node) ?? node} (${why})${suppressedBy === null ? '' : ', suppressed'}`).join('; ')}`;

export const ALERT_CONDITIONS: readonly Condition[] = [
  {
    form: 'alert [<rule:word>] [on <server:server>] [is <level:warning|critical>]',
    means: 'one is open: of that rule, on that server, of that level',
    test: (look, values) => ({ holds: alertsOf(look, values).length > 0, seen: show(look) }),
  },
  {
    form: 'page [<rule:word>] [on <server:server>] [is <level:warning|critical>]',
    means: 'the same, for one that no other alert suppresses: somebody is told of it',
    test: (look, values) => {
      const told = alertsOf(look, values).filter(({ suppressedBy, silencedBy }) => suppressedBy === null && silencedBy === null);
      return { holds: told.length > 0, seen: show(look) };
    },
  },
  {
    form: 'no alert [<rule:word>] [on <server:server>]',
    means: 'none is open',
    test: (look, values) => ({ holds: alertsOf(look, values).length === 0, seen: show(look) }),
  },
  {
    form: 'metric <metric:word> on <server:server> is <how:above|below> <bound:number>',
    means: 'any series of that name of its node in /metrics; labels may follow in braces: name{slot_name="ghost"}',
    async test(look, values) {
      const found = seriesOf(await look.metrics(), look.nodeOf(values.text('server')), values.text('metric'));
      const holds = found.some(({ value }) =>
        values.text('how') === 'above' ? value > values.number('bound') : value < values.number('bound'),
      );
      return {
        holds,
        seen:
          found.length === 0
            ? `there is no metric ${values.text('metric')} of ${values.text('server')}`
            : found.map(({ line }) => line).join('; '),
      };
    },
  },
];

/** The series of a node in the text that Prometheus reads. */
export function seriesOf(page: string, node: string, wanted: string): { line: string; value: number }[] {
  const [, name, labels = ''] = /^([\w:]+)(?:\{(.*)\})?$/.exec(wanted) ?? [];
  return page.split('\n').flatMap((line) => {
    if (name === undefined || !(line.startsWith(`${name}{`) || line.startsWith(`${name} `))) return [];
    if (!line.includes(`node="${node}"`) || !labels.split(',').every((label) => line.includes(label))) return [];
    return [
      {
        line,
        value: Number(
          line
            .slice(line.lastIndexOf('}') + 1)
            .trim()
            .split(' ')[0],
        ),
      },
    ];
  });
}
