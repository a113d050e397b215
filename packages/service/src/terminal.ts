/** What is on the other end of standard output: a person's terminal, or a program that wants plain lines. */
export function stdoutIsTerminal(): boolean {
  return process.stdout.isTTY === true;
}
