/** What a Windows machine is, as the service host reads it from the registry; without a host it is asked as any other foreign system. */
import os from 'node:os';
import { askSysteminformation, hypervisorIn, type PlatformFacts } from '../inventory.ts';
import { rowOf, type HostRow } from './answers.ts';
import type { HostLink } from './host-link.ts';

/** Windows 11 goes on calling itself 10 in its registry, from this build on. */
const ELEVEN_FROM_BUILD = 22_000;

export async function windowsFacts(host: HostLink): Promise<PlatformFacts> {
  let row: HostRow;
  try {
    row = rowOf(await host.ask('machine'));
  } catch {
    return askSysteminformation();
  }
  const build = row.text('build');
  const hardware = { vendor: row.text('vendor') ?? null, product: row.text('model') ?? null };
  const technology = hypervisorIn(hardware);
  const kind = technology !== undefined ? 'vm' : hardware.vendor === null ? 'unknown' : 'none';
  return {
    osName: nameOf(row, Number(build)),
    osId: 'windows',
    osVersion: build === undefined ? os.release() : `10.0.${build}`,
    cpuModel: row.text('cpu') ?? null,
    hardware,
    virtualisation: { kind, technology: technology ?? null },
  };
}

/** "Windows Server 2022 Standard 21H2 (Server Core)" */
function nameOf(row: HostRow, build: number): string | null {
  const product = row.text('product');
  if (product === undefined) return null;
  const words = build >= ELEVEN_FROM_BUILD ? product.replace(/^Windows 10\b/, 'Windows 11') : product;
  const core = row.text('installationType') === 'Server Core' ? ' (Server Core)' : '';
  return `${words} ${row.text('displayVersion') ?? ''}`.trimEnd() + core;
}
