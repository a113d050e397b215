/** The commands that add a node, ready to paste into a POSIX shell; no secret is ever part of a command line. */

/** One shell word, whatever is in it. */
export function shellWord(text: string): string {
  return /^[A-Za-z0-9_./:@%+=,-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

export interface AddCommands {
  onCollector: string;
  saveToken: string;
  runAgent: string;
}

/** @param address where the node reaches the collector, as `http://host:port`. */
export function addCommands(name: string, address: string): AddCommands {
  const word = shellWord(name);
  return {
    onCollector: `tidemark-collector nodes add ${word}`,
    saveToken: '(umask 077 && cat > tidemark-token)',
    runAgent: [
      'tidemark-agent run',
      `--server ${shellWord(address)}`,
      `--hostname ${word}`,
      '--interval 15',
      '--token-file ./tidemark-token',
    ].join(' \\\n  '),
  };
}

/** Whether an address leads to the machine it is used on, and so leads a node to itself. */
export function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname.endsWith('.localhost') || hostname === '[::1]' || hostname.startsWith('127.');
}
