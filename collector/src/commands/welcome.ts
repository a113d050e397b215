/** What a person is told when a collector has come up for the first time: where it is, how to get in, how a node is added. */
import type { ListenAddress } from '../http/listen.ts';

export interface WelcomeOptions {
  listen: ListenAddress;
  https: boolean;
  /** Its certificate is signed by an authority of its own, which nobody knows yet. */
  selfMade: boolean;
  publicUrl: string | undefined;
  /** This machine's addresses in its networks. */
  addresses: readonly string[];
  adminTokenFile: string;
  enrollment: 'open' | 'approve' | 'token';
  /** Commands are then for a PowerShell of an administrator. */
  isWindows: boolean;
}

const ADDRESSES_MAX = 3;

export function welcome(options: WelcomeOptions): string {
  const { listen, https, adminTokenFile, isWindows } = options;
  const [first = '', ...others] = addressesOf(options);
  const everywhere = listen.host === '0.0.0.0' || listen.host === '::';
  const bracketed = listen.host.includes(':') ? `[${listen.host}]` : listen.host;
  const lines = [
    '',
    'The collector runs and is healthy.',
    '',
    `  Console      ${first}`,
    ...others.map((address) => `               ${address}`),
    '  Sign in      with the admin token, which this command shows:',
    `               ${isWindows ? `Get-Content '${adminTokenFile}'` : `sudo cat ${adminTokenFile}`}`,
    ...firstNode(options, first).map((line, i) => `  ${i === 0 ? 'First node' : '          '}   ${line}`),
    `  Listens on   ${bracketed}:${listen.port} (${https ? 'HTTPS' : 'HTTP, not encrypted'}), ${everywhere ? 'on every address of this machine' : 'and on nothing else'}; its database on no network at all`,
  ];
  if (everywhere) lines.push(`  Firewall     where there is one, let agents in: TCP port ${listen.port}`);
  return `${lines.join('\n')}\n\n`;
}

function addressesOf({ publicUrl, listen, https, addresses }: WelcomeOptions): string[] {
  const scheme = https ? 'https' : 'http';
  const port = listen.port === (https ? 443 : 80) ? '' : `:${listen.port}`;
  const at = (host: string): string => `${scheme}://${host.includes(':') ? `[${host}]` : host}${port}`;
  const own =
    listen.host === '0.0.0.0' || listen.host === '::'
      ? addresses.length === 0
        ? ['localhost']
        : addresses.slice(0, ADDRESSES_MAX)
      : [listen.host];
  return [...new Set([...(publicUrl === undefined ? [] : [publicUrl.replace(/\/+$/, '')]), ...own.map(at)])];
}

function firstNode({ selfMade, enrollment, isWindows }: WelcomeOptions, url: string): string[] {
  const sudo = isWindows ? '' : 'sudo ';
  // A machine that does not know this collector's authority yet is given its fingerprint along with a token.
  if (selfMade || enrollment === 'token') return ['this command prints what is to be run on it:', `${sudo}tidemark-collector enroll`];
  return [
    'on the machine that is to be watched (this is for Linux; the console has it for Windows):',
    `curl -fsSLo agent-install-linux.sh ${url}/documentation/downloads/agent-install-linux.sh`,
    `sudo sh agent-install-linux.sh --server ${url} --hostname NAME --interval 60`,
    ...(enrollment === 'approve' ? [`and then here: ${sudo}tidemark-collector nodes approve NAME`] : []),
  ];
}
