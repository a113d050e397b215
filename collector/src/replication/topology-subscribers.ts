/**
 * Logical subscribers are members of clusters of their own; here there is a row at their publisher. Where it is certain
 * which watched server such a row is, it is called by that server's name: the slot's name alone is not enough, many
 * subscriptions have one name.
 */
import type { Sighting } from './model.ts';
import { leadsTo, onOneMachine, placeOf, addressesOf, isLoopback, isSocket, type Place } from './topology-places.ts';
import type { SenderRow, Subject } from './topology-subject.ts';

/** The one server with a worker for that slot that is where the row's client is; undefined when none fits, or several do. */
export function watchedSubscriber(sender: Subject, row: SenderRow, subscribers: readonly Sighting[]): Sighting | undefined {
  const slot = row.view.slotName;
  if (row.kind !== 'logical' || slot === null) return undefined;
  const fitting = subscribers.filter((one) => {
    const place = placeOf(one, one.document);
    if (!isClient(row, place, sender.place)) return false;
    return (one.document?.subscriptions ?? []).some(
      ({ slotName, enabled, workerPid, publisherHost, publisherPort }) =>
        slotName === slot && enabled !== false && workerPid !== null && mayLeadTo(publisherHost, publisherPort, place, sender.place),
    );
  });
  return fitting.length === 1 ? fitting[0] : undefined;
}

function isClient(row: SenderRow, client: Place, sender: Place): boolean {
  if (row.address === undefined || isLoopback(row.address)) return onOneMachine(client, sender);
  return client.addresses.has(row.address);
}

/** A name may be one that only a name server knows: it says nothing. An address that is somebody else's does. */
function mayLeadTo(host: string | null, port: string | null, from: Place, to: Place): boolean {
  const addresses = addressesOf(host, port);
  if (addresses.length === 0) return true;
  return addresses.some(
    (address) => leadsTo(address, from, to) || !(isSocket(address.host) || isLoopback(address.host) || /^[\d.]+$|:/.test(address.host)),
  );
}

/** By its node; with the instance's name where that node has several here. */
export function subscriberName({ id, nodeId, nodeName, instance }: Sighting, others: readonly Sighting[]): string {
  return others.some((other) => other.nodeId === nodeId && other.id !== id) ? `${nodeName}/${instance}` : nodeName;
}
