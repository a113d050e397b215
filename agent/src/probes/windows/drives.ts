/** The fixed drives of a Windows machine, as the service host tells them: drives of other machines can hang whoever asks them anything. */
import type { Drive } from '../portable.ts';
import { rowsOf } from './answers.ts';
import type { HostLink } from './host-link.ts';

/** Undefined when the host is not there or cannot tell: the other Windows probes say why. */
export async function listFixedDrives(host: HostLink): Promise<Drive[] | undefined> {
  try {
    return rowsOf(await host.ask('drives'), 'drives')
      .filter(({ name, row }) => /^[A-Z]:$/i.test(name) && row.text('type') === 'fixed')
      .map(({ name, row }) => ({ name: name.toUpperCase(), fstype: row.text('format') ?? '' }));
  } catch {
    return undefined;
  }
}
