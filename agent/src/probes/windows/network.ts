/** Network interfaces on Windows, as the service host reads them; the same series as on Linux, since they mean the same. */
import type { Probe } from '../probe.ts';
import { metric } from '../recorder.ts';
import { rowsOf } from './answers.ts';
import type { HostLink } from './host-link.ts';

const BITS_PER_BYTE = 8;

function traffic(direction: 'receive' | 'transmit', what: string) {
  const name = `node_network_${direction}_${what}_total`;
  return metric(name, 'counter', what === 'bytes' ? 'bytes' : '', `Network device statistic ${direction}_${what}.`, ['device']);
}

const COLUMNS = [
  [traffic('receive', 'bytes'), 'receiveBytes'],
  [traffic('receive', 'packets'), 'receivePackets'],
  [traffic('receive', 'errs'), 'receiveErrors'],
  [traffic('receive', 'drop'), 'receiveDrops'],
  [traffic('transmit', 'bytes'), 'transmitBytes'],
  [traffic('transmit', 'packets'), 'transmitPackets'],
  [traffic('transmit', 'errs'), 'transmitErrors'],
  [traffic('transmit', 'drop'), 'transmitDrops'],
] as const;
const up = metric('node_network_up', 'gauge', '', "Value is 1 if operstate is 'up', 0 otherwise.", ['device']);
const speedBytes = metric('node_network_speed_bytes', 'gauge', 'bytes', 'Network device property: speed_bytes.', ['device']);

export function windowsNetworkProbe(host: HostLink): Probe {
  return {
    name: 'network',
    async collect(context) {
      const interfaces = rowsOf(await host.ask('network'), 'interfaces');
      const block = context.block();
      for (const { name, row } of interfaces) {
        for (const [of, key] of COLUMNS) block.add(of, row.number(key), name);
        const isUp = row.flag('up');
        block.add(up, isUp === undefined ? null : Number(isUp), name);
        // Without a cable it is -1, or what the card could do.
        const bits = row.number('speedBits') ?? -1;
        if (isUp === true && bits > 0) block.add(speedBytes, bits / BITS_PER_BYTE, name);
      }
    },
    // The link is that of all Windows probes, which are closed together.
    close: () => host.close(),
  };
}
