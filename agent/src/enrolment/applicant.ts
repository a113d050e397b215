/** What this machine says of itself when it asks to join. */
import { arch } from 'node:os';
import type { AgentConfig, Surroundings } from '../config.ts';
import type { Applicant } from './enrol.ts';
import { machineHash, regProgram } from './machine.ts';

export async function applicantOf(
  config: AgentConfig,
  { version, surroundings }: { readonly version: string; readonly surroundings: Surroundings },
): Promise<Applicant> {
  const { platform, environment } = surroundings;
  const machine = await machineHash({ platform, reg: regProgram(environment['SystemRoot']) });
  return {
    name: config.hostname,
    ...(machine === undefined ? {} : { machine }),
    ...(config.site === undefined ? {} : { site: config.site }),
    ...(Object.keys(config.tags).length === 0 ? {} : { tags: { ...config.tags } }),
    version,
    platform: `${platform}-${arch()}`,
  };
}
