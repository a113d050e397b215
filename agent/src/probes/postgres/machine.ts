/** The machine that the agent runs on, by the names under which others may reach a server on it. */
import { networkInterfaces } from 'node:os';
import type { Clock } from '@tidemark/service';

const LOOK_EVERY_MS = 60_000;
const ADDRESSES_MAX = 64;

export interface MachineDescription {
  readonly hostname: string;
  readonly addresses: string[];
}

export class Machine {
  readonly #hostname: string;
  readonly #clock: Clock;
  readonly #interfaces: typeof networkInterfaces;
  #addresses: string[] = [];
  #lookedMs = Number.NEGATIVE_INFINITY;

  constructor(hostname: string, clock: Clock, interfaces: typeof networkInterfaces = networkInterfaces) {
    this.#hostname = hostname;
    this.#clock = clock;
    this.#interfaces = interfaces;
  }

  /** Every address but loopback and those that mean nothing beyond their own link. Addresses change seldom: looked at once a minute. */
  describe(): MachineDescription {
    const now = this.#clock.monotonicMs();
    if (now - this.#lookedMs >= LOOK_EVERY_MS) {
      this.#lookedMs = now;
      const all = Object.values(this.#interfaces()).flatMap((addresses) => addresses ?? []);
      const outward = all.filter(({ internal, address }) => !internal && !address.toLowerCase().startsWith('fe80:'));
      this.#addresses = [...new Set(outward.map(({ address }) => address))].toSorted().slice(0, ADDRESSES_MAX);
    }
    return { hostname: this.#hostname, addresses: this.#addresses };
  }

  /** Whether a host is this machine: a socket's directory, a loopback address, or an address or name of its own. */
  isHere(host: string): boolean {
    if (host.startsWith('/') || host === 'localhost' || host === '::1' || host.startsWith('127.')) return true;
    const { hostname, addresses } = this.describe();
    return host === hostname || addresses.includes(host);
  }
}
