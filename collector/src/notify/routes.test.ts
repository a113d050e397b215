/** The channels over HTTP, and the command line that asks for them. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ChannelList, ChannelTest, Problem } from '@tidemark/protocol';
import { OperationalFailure } from '@tidemark/service';
import { Command } from 'commander';
import { describe, expect, test } from 'vitest';
import { connectTo } from '../commands/client.ts';
import { notifyCommands } from '../commands/notify.ts';
import { ADMIN_TOKEN, READ_TOKEN, testServer, type TestServer } from '../http/testing.ts';
import { channelRoutes } from './routes.ts';
import { REFUSED, ScriptedChannel, channelOf, startNotifier } from './testing.ts';

interface Api extends TestServer {
  channel: ScriptedChannel;
}

async function api(): Promise<Api> {
  const channel = new ScriptedChannel();
  const { notifier } = startNotifier({ channels: [channelOf('ops', channel, { only: { levels: ['critical'] } })] });
  const server = await testServer({ routes: (app) => channelRoutes(app, { notifier }) });
  return { ...server, channel };
}

const as = (token: string): { authorization: string } => ({ authorization: `Bearer ${token}` });

describe('over HTTP', () => {
  test('the channels, for who may read', async () => {
    const { app } = await api();
    const answer = await app.inject({ url: '/api/channels', headers: as(READ_TOKEN) });
    expect(answer.json<ChannelList>()).toEqual({
      channels: [
        {
          name: 'ops',
          kind: 'scripted',
          destination: 'nowhere.example',
          only: 'level critical',
          state: 'unused',
          detail: 'nothing was sent since the collector started',
          waiting: 0,
          lastDeliveredAt: null,
        },
      ],
    });
    expect((await app.inject({ url: '/api/channels' })).statusCode).toBe(401);
  });

  test('a test, for an administrator, with the answer of the other side', async () => {
    const { app, channel } = await api();
    const ask = async (token: string, name = 'ops') =>
      app.inject({ method: 'POST', url: `/api/channels/${name}/test`, headers: as(token) });
    expect((await ask(READ_TOKEN)).statusCode).toBe(403);
    expect(channel.messages).toEqual([]);
    expect((await ask(ADMIN_TOKEN)).json<ChannelTest>()).toMatchObject({ delivered: true, answer: 'HTTP 204' });
    channel.answering = () => REFUSED;
    expect((await ask(ADMIN_TOKEN)).json<ChannelTest>()).toMatchObject({ delivered: false, answer: 'HTTP 401' });
    expect(channel.messages.every((message) => message.test)).toBe(true);
    const unknown = await ask(ADMIN_TOKEN, 'nope');
    expect([unknown.statusCode, unknown.json<Problem>().code, unknown.json<Problem>().detail]).toEqual([
      404,
      'channel_unknown',
      'There is no channel "nope". There are: ops.',
    ]);
  });
});

describe('on the command line', () => {
  async function run(server: Api, ...argv: string[]): Promise<{ out: string; err: string }> {
    const said = { out: '', err: '' };
    const tokenFile = join(server.dataDir, 'token');
    writeFileSync(tokenFile, ADMIN_TOKEN);
    const url = server.app.server.listening ? serverUrl(server) : await server.app.listen({ host: '127.0.0.1', port: 0 });
    const program = new Command().exitOverride();
    const context = { out: (text: string) => void (said.out += text), err: (text: string) => void (said.err += text), hostname: 'here' };
    notifyCommands(program, { ...context, connect: () => ({ client: connectTo({ url, tokenFile }), url }) }, (command) => command);
    await program.parseAsync(argv, { from: 'user' });
    return said;
  }
  const serverUrl = ({ app }: Api): string => `http://127.0.0.1:${(app.server.address() as { port: number }).port}`;

  test('the channels as a table', async () => {
    const { out } = await run(await api(), 'notify', 'channels');
    expect(out).toMatch(/^NAME +KIND +STATE/);
    expect(out).toMatch(/\nops +scripted +unused +0 +- +nowhere\.example +level critical/);
  });

  test('a test that goes through, and one that does not', async () => {
    const server = await api();
    const { out, err } = await run(server, 'notify', 'test', 'ops');
    expect([out, err]).toEqual(['HTTP 204\n', expect.stringMatching(/^ops took the test in \d+ ms\.\n$/)]);
    server.channel.answering = () => ({ outcome: 'refused', answer: 'HTTP 401: \u001b[2J' });
    const failure = await run(server, 'notify', 'test', 'ops').catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(OperationalFailure);
    expect((failure as Error).message).toMatch(/^ops did not take the test, after \d+ ms: HTTP 401: \\x1b\[2J$/);
  });
});
