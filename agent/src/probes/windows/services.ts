/**
 * Windows services that should run: those that start by themselves, and PostgreSQL's whatever their start. Each has one series all the
 * time, 1 while it runs and else 0, under windows_exporter's name; so a service that stops is a value that changes, not a series that ends.
 */
import type { Probe } from '../probe.ts';
import { metric } from '../recorder.ts';
import { rowsOf, type HostRow } from './answers.ts';
import type { HostLink } from './host-link.ts';

const serviceState = metric('windows_service_state', 'gauge', '', 'The state of the service, 1 if the current state, 0 otherwise', [
  'name',
  'state',
]);
const notRunning = metric(
  'tidemark_windows_services_not_running',
  'gauge',
  '',
  'Services that start by themselves or are PostgreSQL servers, and do not run.',
);

/**
 * Services that Windows and its programs set to start by themselves and that end when they have done their work. Those that wait for a
 * trigger are recognised by it; these have none, or not in every version.
 */
const ENDS_BY_ITSELF =
  /^(?:sppsvc|MapsBroker|RemoteRegistry|ShellHWDetection|TrustedInstaller|WbioSrvc|BITS|wuauserv|UsoSvc|DoSvc|CDPSvc|tiledatamodelsvc|gpsvc|stisvc|WaaSMedicSvc|SysMain|AppReadiness|clr_optimization_.*|gupdatem?|edgeupdatem?|GoogleUpdater(?:Internal)?Service.*|GoogleChromeElevationService|dbupdatem?|brave.*|MozillaMaintenance|AdobeARMservice|Intel\(R\) TPM Provisioning Service|VSStandardCollectorService\d*)$/i;
const POSTGRES = /^postgresql/i;

export function windowsServicesProbe(host: HostLink): Probe {
  return {
    name: 'services',
    async collect(context) {
      const services = rowsOf(await host.ask('services'), 'services').filter(({ name, row }) => shouldRun(name, row));
      const block = context.block();
      let missing = 0;
      // The order is the host's own and may change: the layout would change with it.
      for (const { name, row } of services.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
        const state = row.text('state');
        // "start pending" is on its way; a disk that is slow at boot is no dead service, but it does not run either.
        if (state !== undefined && state !== 'running') missing++;
        block.add(serviceState, state === undefined || state === 'unknown' ? null : Number(state === 'running'), name, 'running');
      }
      block.add(notRunning, missing);
    },
  };
}

/** A PostgreSQL server that somebody starts by hand is watched too; one of an old version that was disabled is not. */
export function shouldRun(name: string, row: HostRow): boolean {
  if (POSTGRES.test(name)) return row.flag('disabled') !== true;
  return row.flag('automatic') === true && row.flag('triggered') !== true && !ENDS_BY_ITSELF.test(name);
}
