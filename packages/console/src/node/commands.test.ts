import { expect, test } from 'vitest';
import { isLoopback } from './commands.ts';

test('addresses that lead a node to itself', () => {
  expect(['localhost', '127.0.0.1', '[::1]', 'x.localhost'].map(isLoopback)).toEqual([true, true, true, true]);
  expect(['10.0.0.1', 'collector', 'localhost.example.com'].map(isLoopback)).toEqual([false, false, false]);
});
