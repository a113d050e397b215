/**
 * The collector is killed with SIGKILL at each point between a transition and its telling. Points that can be held open
 * from outside are (a database that is frozen, a receiver that does not answer); the others are met by killing at
 * seeded moments around the crossing. Nothing is lost, nothing invented, every page is closed, repeats say that they are.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { PostgresCluster, waitUntil, type PostgresInstance } from '../postgres/cluster.ts';
import { AlertingCollector, CROSSED, QUIET, report } from './alerting-collector.ts';
import { seeded, type RawAgent } from './raw-agent.ts';

const SEED = 11;
const ROUNDS = 6;
let cluster: PostgresCluster;
let database: PostgresInstance;
let day: AlertingCollector;

beforeAll(async () => {
  cluster = new PostgresCluster();
  database = await cluster.startPrimary({ version: 18, name: 'store' });
  day = await new AlertingCollector({ environment: { TIDEMARK_DATABASE_URL: database.url } }).start();
});
beforeEach(() => void (day.hook.answer = () => ({ status: 204 })));
afterAll(async () => {
  await day?.stop();
  await cluster?.stopAll();
});

async function agentOf(name: string): Promise<RawAgent> {
  const [agent] = await day.agents([name]);
  await report(agent!, QUIET);
  return agent!;
}

async function closes(agent: RawAgent): Promise<void> {
  await report(agent, QUIET);
  await day.hook.until(`that ${agent.name} is over`, () => day.told(agent.name).at(-1)?.startsWith('resolved') === true, 60_000);
}

/** One incident of this node, whatever happened. */
async function expectOneIncident(name: string): Promise<void> {
  const alerts = await waitUntil(
    async () => {
      const found = (await day.alerts('state=all&rule=load')).filter(({ node }) => node === name);
      return found.every(({ state }) => state === 'closed') && found;
    },
    { what: 'the past to be listed' },
  );
  expect(alerts.map(({ state }) => state)).toEqual(['closed']);
  const rows = await waitUntil(
    async () => {
      const found = await cluster.sql<{ id: string; closed: boolean }>(
        database,
        `SELECT id, closed_at IS NOT NULL AS closed FROM incidents WHERE rule = 'load' AND node_name = '${name}'`,
      );
      return found.length > 0 && found.every(({ closed }) => closed) && found;
    },
    { what: 'the database to have caught up', timeoutMs: 60_000 },
  );
  expect(rows.map(({ id }) => id)).toEqual([alerts[0]!.id]);
}

test('between the journal and the database', async () => {
  const agent = await agentOf('frozen');
  cluster.freeze(database);
  const sending = report(agent, CROSSED);
  try {
    await day.hook.until('of a crossing beside a frozen database', () => day.told('frozen').length === 1);
    await day.kill();
  } finally {
    cluster.thaw();
  }
  await day.launch();
  await sending;
  expect((await day.alerts()).map(({ node }) => node)).toEqual(['frozen']);
  await closes(agent);
  expect(day.told('frozen')).toEqual(['firing critical', 'resolved critical']);
  await expectOneIncident('frozen');
});

test('while the message is on its way: the same message again, and it says so', async () => {
  const agent = await agentOf('sending');
  day.hook.answer = ({ alerts }) => (alerts.some(({ node }) => node === 'sending') ? 'hang' : { status: 204 });
  await report(agent, CROSSED);
  const first = (): (typeof day.hook.received)[number] | undefined =>
    day.hook.received.find(({ alerts }) => alerts.some(({ node }) => node === 'sending'));
  await day.hook.until('of the crossing', () => first() !== undefined);
  await day.kill();
  day.hook.answer = () => ({ status: 204 });
  await day.launch();
  await day.hook.until('it again', () => day.told('sending').length === 1);
  const again = day.hook.received.filter(({ id }) => id === first()!.id);
  expect(again.length).toBeGreaterThanOrEqual(2);
  expect(again.at(-1)!.possibleRepeat).toBe(true);
  await closes(agent);
  await expectOneIncident('sending');
});

test('between the answer and the note of it: at most one repetition, under the same id', async () => {
  const agent = await agentOf('answered');
  day.hook.answer = ({ alerts }) => {
    // The answer leaves, and the collector is gone before it can read it.
    if (alerts.some(({ node }) => node === 'answered')) day.collector.kill('SIGKILL');
    return { status: 204 };
  };
  const sending = report(agent, CROSSED);
  await day.collector.exited;
  day.hook.answer = () => ({ status: 204 });
  await day.launch();
  await sending;
  await day.hook.until('it', () => day.told('answered').length > 0);
  await closes(agent);
  const ids = day.hook.received
    .filter(({ alerts }) => alerts.some(({ node, status }) => node === 'answered' && status === 'firing'))
    .map(({ id }) => id);
  expect(new Set(ids).size).toBe(1);
  expect(ids.length).toBeLessThanOrEqual(2);
  expect(day.told('answered')).toEqual(['firing critical', 'resolved critical']);
  await expectOneIncident('answered');
});

test(`at seeded moments around the crossing and the return (seed ${SEED})`, async () => {
  const random = seeded(SEED);
  for (let round = 0; round < ROUNDS; round++) {
    const name = `round${round}`;
    const agent = await agentOf(name);
    for (const load of [CROSSED, QUIET]) {
      const sending = report(agent, load);
      await pause(60 * random());
      await day.kill();
      await day.launch();
      await sending;
      // It may have died before the report was judged: the next one of the same load is.
      await report(agent, load);
      const wanted = load === CROSSED ? 'firing' : 'resolved';
      await day.hook.until(`${name} ${wanted}`, () => day.told(name).at(-1)?.startsWith(wanted) === true, 60_000);
    }
    expect(day.told(name)).toEqual(['firing critical', 'resolved critical']);
    await expectOneIncident(name);
  }
});
