/** Commands to paste must do what they say with every name. */
import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { addCommands, isLoopback, shellWord } from './commands.ts';

test.each(['db-1', "O'Brien", '$(touch /tmp/x)', '`id`', 'a b', '"', '🐘', '-n', ''])('%j is one word to a shell', (name) => {
  const out = execFileSync('/bin/sh', ['-c', `printf '[%s]' ${shellWord(name)}`], { encoding: 'utf8' });
  expect(out).toBe(`[${name}]`);
});

test('the agent is told where, who and with which file', () => {
  expect(addCommands('db 1', 'http://collector:5000').runAgent).toBe(
    "tidemark-agent run \\\n  --server http://collector:5000 \\\n  --hostname 'db 1' \\\n  --interval 15 \\\n  --token-file ./tidemark-token",
  );
});

test('addresses that lead a node to itself', () => {
  expect(['localhost', '127.0.0.1', '[::1]', 'x.localhost'].map(isLoopback)).toEqual([true, true, true, true]);
  expect(['10.0.0.1', 'collector', 'localhost.example.com'].map(isLoopback)).toEqual([false, false, false]);
});
