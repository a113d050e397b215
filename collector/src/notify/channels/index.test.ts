import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { OperationalFailure, declareOptions, loadOptions, printOptions } from '@tidemark/service';
import { describe, expect, onTestFinished, test } from 'vitest';
import { channelsOption, createChannels, type ChannelConfig } from './index.ts';

const options = declareOptions({ channels: channelsOption });

function directory(): string {
  const path = mkdtempSync(join(tmpdir(), 'tidemark-channels-'));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

function load(yaml: string): { channels: ChannelConfig[]; printed: string } {
  const file = join(directory(), 'c.yaml');
  writeFileSync(file, yaml);
  const loaded = loadOptions('tidemark-collector', options, { flags: { config: file }, environment: {} });
  return { channels: loaded.values.channels, printed: printOptions(options, loaded) };
}

/** The sentences of a configuration that is refused, without the directory. */
function mistakesOf(yaml: string): string[] {
  try {
    load(yaml);
  } catch (error) {
    if (!(error instanceof OperationalFailure)) throw error;
    return error.message
      .split('\n')
      .slice(1, -1)
      .map((line) => line.trim().replace(/^.*c\.yaml:/, ''));
  }
  return [];
}

const WHOLE = `
channels:
  - name: on-call
    kind: webhook
    url: https://receiver.example/hook
    secretFile: /etc/tidemark/on-call.secret
    headers: { x-team: db }
    only: { levels: [critical], nodes: ['db-*'], tags: { role: db } }
  - name: mail
    kind: email
    host: smtp.example.org
    user: monitor
    passwordFile: /etc/tidemark/smtp-password
    from: Tidemark <tidemark@example.org>
    to: [a@example.org, B <b@example.org>]
`;

describe('in the configuration file', () => {
  test('both kinds, and nothing of it is printed', () => {
    const { channels, printed } = load(WHOLE);
    expect(channels.map(({ name, kind }) => [name, kind])).toEqual([
      ['on-call', 'webhook'],
      ['mail', 'email'],
    ]);
    expect(printed).toMatch(/^channels {2}\(secret\)/);
  });

  test.each<[string, string, string, string[]]>([
    ['an unknown kind', 'kind: webhook', 'kind: carrier-pigeon', ['4: channels: "on-call": kind: must be one of webhook, email']],
    [
      'a misspelt option',
      'secretFile:',
      'secretfile:',
      [
        '6: channels: "on-call": secretfile: there is no such key; did you mean secretFile?',
        '3: channels: "on-call": secretFile is missing: a file with "whsec_…" in it, one secret on a line; all of them sign',
      ],
    ],
    [
      'an address with a password in it',
      'https://receiver.example/hook',
      'https://user:hunter2@receiver.example/',
      ['5: channels: "on-call": url: must be an http:// or https:// address without a user and a password'],
    ],
    [
      'a header that is set already',
      'x-team: db',
      'webhook-id: x',
      [
        '7: channels: "on-call": headers: must be names and values of at most 20 headers; webhook-*, content-* and the like are set already',
      ],
    ],
    [
      'a header with a line break',
      'x-team: db',
      '"x-team": "a\\r\\nb"',
      [
        '7: channels: "on-call": headers: must be names and values of at most 20 headers; webhook-*, content-* and the like are set already',
      ],
    ],
    [
      'an unknown level',
      '[critical]',
      '[fatal]',
      ['8: channels: "on-call": only: levels: item 1: must be warning or critical (got "fatal")'],
    ],
    ['the same name twice', 'name: mail', 'name: on-call', ['9: channels: "on-call": name: channel 1 has the same']],
    [
      'a name that is none',
      'name: mail',
      'name: "../x y"',
      ['9: channels: "../x y": name: must be a name of small letters, digits and hyphens (got "../x y")'],
    ],
    ['a password without a user', '    user: monitor\n', '', ['12: channels: "mail": passwordFile: user is missing beside it']],
    [
      'a password over the open network',
      'host: smtp.example.org',
      'host: smtp.example.org\n    tls: off',
      ['12: channels: "mail": tls: off would send the password readably over the network; use starttls or implicit'],
    ],
    [
      'a sender who is none',
      'Tidemark <tidemark@example.org>',
      'tidemark',
      ['14: channels: "mail": from: must be an address: user@example.org, or Name <user@example.org> (got "tidemark")'],
    ],
    [
      'a recipient with a line break',
      'B <b@example.org>',
      '"b@example.org\\r\\nBcc: c@example.org"',
      [
        '15: channels: "mail": to: item 2: must be an address: user@example.org, or Name <user@example.org> (got "b@example.org\\r\\nBcc: c@example.org")',
      ],
    ],
  ])('%s', (_, before, after, wanted) => {
    expect(WHOLE).toContain(before);
    expect(mistakesOf(WHOLE.replace(before, after))).toEqual(wanted);
  });

  test.each(['channels: on-call', 'channels: {name: x}', 'channels: [on-call]', 'channels: [{name: x}]'])(
    '%s is no list of channels',
    (yaml) => {
      expect(mistakesOf(yaml).length).toBe(1);
    },
  );
});

describe('made', () => {
  const declared = (secretFile: string, url = 'http://127.0.0.1:1/'): ChannelConfig[] => [
    { name: 'ops', kind: 'webhook', url, secretFile },
  ];

  test('another option, or another secret in the same file, is another channel', () => {
    const file = join(directory(), 'secret');
    const write = (): void => writeFileSync(file, `whsec_${randomBytes(32).toString('base64')}\n`);
    write();
    const fingerprint = (url?: string): string => createChannels(declared(file, url))[0]!.fingerprint;
    const first = fingerprint();
    expect(fingerprint()).toBe(first);
    expect(fingerprint('http://127.0.0.1:2/')).not.toBe(first);
    write();
    expect(fingerprint()).not.toBe(first);
  });

  test('every file that cannot be used is named, and none is made', () => {
    const two = [...declared('/nowhere/a'), { ...declared('/nowhere/b')[0]!, name: 'two' }];
    expect(() => createChannels(two)).toThrow(/2 mistakes in the channels:\n.*"ops": \/nowhere\/a.*\n.*"two": \/nowhere\/b/);
  });
});
