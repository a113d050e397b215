/** What the collector consists of, and since when each part is as it is: every part answers for itself when it is asked. */
import type { ComponentHealth, TelemetryHealth } from '@tidemark/protocol';
import type { Clock } from '@tidemark/service';

export type ComponentStatus = ComponentHealth['status'];

export interface ComponentReading {
  status: ComponentStatus;
  detail: string;
  /** Milliseconds since 1970, where the part knows it better than by being asked. */
  since?: number;
}

interface Component {
  name: string;
  /** Whether the collector can do its work without it. */
  needed: boolean;
  read: () => ComponentReading;
  last: { status: ComponentStatus; since: number } | undefined;
}

const WATCH_MS = 5_000;
const RANK: Readonly<Record<ComponentStatus, number>> = { inactive: 0, healthy: 0, degraded: 1, unhealthy: 2 };

export class Components {
  readonly #components: Component[] = [];
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  register(name: string, needed: boolean, read: () => ComponentReading): void {
    this.#components.push({ name, needed, read, last: undefined });
  }

  /** Asks every part every few seconds, so that "since" is when it changed and not when somebody looked. Returns what ends it. */
  watch(): () => void {
    const timer = setInterval(() => this.read(), WATCH_MS).unref();
    return () => clearInterval(timer);
  }

  /** Every part, and the worst of the needed ones as the whole's status. */
  read(): TelemetryHealth {
    let status: ComponentStatus = 'healthy';
    const components = this.#components.map((component) => {
      const reading = component.read();
      if (component.last?.status !== reading.status) component.last = { status: reading.status, since: this.#clock.wallMs() };
      const worst = component.needed || RANK[reading.status] <= RANK.degraded ? reading.status : 'degraded';
      if (RANK[worst] > RANK[status]) status = worst;
      return {
        name: component.name,
        status: reading.status,
        detail: reading.detail,
        since: new Date(reading.since ?? component.last.since).toISOString(),
      };
    });
    return { status, components };
  }

  /** Sentences for the needed parts that are down. */
  reasons(): string[] {
    return this.#components.flatMap(({ name, needed, read }) => {
      const { status, detail } = read();
      return needed && status === 'unhealthy' ? [`${name}: ${detail}`] : [];
    });
  }
}
