/** What the console knows about commands itself; the finished ones that install an agent are the protocol's, for the command line shows the same. */

/** Puts a pasted secret into a file that only its owner can read; Enter, then Ctrl+D ends it. */
export const SAVE_TOKEN = '(umask 077 && cat > tidemark-token)';

/** Whether an address leads to the machine it is used on, and so leads a node to itself. */
export function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname.endsWith('.localhost') || hostname === '[::1]' || hostname.startsWith('127.');
}
