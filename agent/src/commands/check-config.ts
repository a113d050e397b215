/** `tidemark-agent check-config`: everything that is wrong with the configuration at once, the files it names included. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { accessSync, constants, statSync } from 'node:fs';
import { codeOf, EXIT, OperationalFailure, printOptions, type LoadedOptions } from '@tidemark/service';
import { AGENT_OPTIONS, agentConfig, isReadableByOthers, readToken, type AgentOptionValues, type Surroundings } from '../config.ts';
import { pemIn } from '../uplink/connections.ts';

/** Returns what to print: the configuration as it is in force. Throws an OperationalFailure that lists every mistake. */
export function checkConfig(loaded: LoadedOptions<AgentOptionValues>, surroundings: Surroundings): string {
  const mistakes = filesOf(loaded, surroundings);
  if (mistakes.length > 0) {
    const noun = mistakes.length === 1 ? 'one mistake' : `${mistakes.length} mistakes`;
    throw new OperationalFailure(`${noun} in the configuration:\n${mistakes.map((text) => `  ${text}`).join('\n')}`, EXIT.configuration);
  }
  return `${printOptions(AGENT_OPTIONS, loaded)}\n\nNo mistakes${loaded.file === undefined ? '; no file was read' : ` in ${loaded.file}`}.\n`;
}

function filesOf({ values, placeOf }: LoadedOptions<AgentOptionValues>, surroundings: Surroundings): string[] {
  const mistakes: string[] = [];
  const check = (option: string, path: readonly string[], look: () => void): void => {
    try {
      look();
    } catch (error) {
      mistakes.push(`${placeOf(option, path)}: ${error instanceof Error ? error.message : String(error)}`);
    }
  };
  const { tokenFile, caFile, certFile, keyFile, postgres } = values;
  const { route } = agentConfig(values, surroundings);
  if (tokenFile !== undefined)
    check('tokenFile', [], () => {
      readToken(tokenFile);
      if (isReadableByOthers(tokenFile, surroundings.platform))
        throw new Error(`every user of this machine can read ${tokenFile}: chmod 600 it`);
    });
  if (caFile !== undefined) check('caFile', [], () => void new X509Certificate(pemIn(caFile, 'caFile', 'CERTIFICATE')));
  if (certFile !== undefined && keyFile !== undefined)
    check('certFile', [], () => {
      const certificate = new X509Certificate(pemIn(certFile, 'certFile', 'CERTIFICATE'));
      const key = createPrivateKey(pemIn(keyFile, 'keyFile', 'PRIVATE KEY'));
      if (!certificate.checkPrivateKey(key)) throw new Error(`${certFile} and ${keyFile} do not belong together`);
    });
  for (const [i, server] of postgres.entries()) {
    if (typeof server === 'string' || server.passwordFile === undefined) continue;
    const { passwordFile } = server;
    check('postgres', [String(i), 'passwordFile'], () => readable(passwordFile));
  }
  if (values.server !== undefined && route.caFile !== undefined && new URL(values.server).protocol === 'http:')
    mistakes.push(`${placeOf('caFile', [])}: caFile says whom to trust over TLS, and server is an http:// address`);
  return mistakes;
}

function readable(file: string): void {
  try {
    if (!statSync(file).isFile()) throw Object.assign(new Error('not a file'), { code: 'not a file' });
    accessSync(file, constants.R_OK);
  } catch (error) {
    throw new Error(`${file} cannot be read (${codeOf(error) ?? String(error)})`, { cause: error });
  }
}
