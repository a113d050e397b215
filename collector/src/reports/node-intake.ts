/** What intake remembers of one node between its reports: its layouts, its runs, its clock, its last observations. All of it can be read back from the store. */
import type { NodeRecord } from '../fleet/node.ts';
import type { DerivedBlock } from './intake.ts';
import type { KnownLayout } from './layouts.ts';
import { ClockOffset } from './report-time.ts';
import { SequenceSet } from './sequences.ts';

/** Runs of an agent remembered per node; a backlog can span several. */
const BOOTS_MAX = 16;
const LAYOUTS_MAX = 4_000;
/** Reports of a run of which it is kept what followed from them; beyond it they are late when they come again. */
const DERIVED_MAX = 100;

export interface BootIntake {
  readonly bootId: string;
  /** The run's id in the store; undefined until it was written there. */
  id: number | undefined;
  /** Whether the store's ledger of this run has been read. */
  loaded: boolean;
  /** Passed through the stream once: never again. */
  readonly published: SequenceSet;
  /** Known to be in the store. */
  committed: SequenceSet;
  /** What followed from reports that are published and not committed yet: what was judged is what is stored. */
  readonly derived: Map<number, readonly DerivedBlock[]>;
  /** On their way into the store. */
  readonly pending: Map<number, Promise<void>>;
}

/** Keeps what followed from a report until it is committed. */
export function keepDerived({ derived }: BootIntake, sequence: number, blocks: readonly DerivedBlock[]): void {
  if (blocks.length === 0) return;
  derived.set(sequence, blocks);
  dropOldest(derived, DERIVED_MAX, () => true);
}

export class NodeIntake {
  readonly node: NodeRecord;
  readonly clock = new ClockOffset();
  readonly layouts = new Map<string, KnownLayout>();
  /** Store ids of block combinations; the key is the layout ids joined by commas. */
  readonly layoutSets = new Map<string, number>();
  /** JSON text of the newest observation by kind and instance. */
  readonly observations = new Map<string, { at: number; text: string }>();
  /** Series this node has in the store; undefined until counted. */
  seriesCount: number | undefined;
  readonly #boots = new Map<string, BootIntake>();

  constructor(node: NodeRecord) {
    this.node = node;
  }

  boot(bootId: string): BootIntake {
    let boot = this.#boots.get(bootId);
    if (boot === undefined) {
      boot = {
        bootId,
        id: undefined,
        loaded: false,
        published: new SequenceSet(),
        committed: new SequenceSet(),
        derived: new Map(),
        pending: new Map(),
      };
      this.#boots.set(bootId, boot);
      dropOldest(this.#boots, BOOTS_MAX, (b) => b.pending.size === 0);
    }
    return boot;
  }

  remember(layout: KnownLayout): void {
    this.layouts.set(layout.hash, layout);
    dropOldest(this.layouts, LAYOUTS_MAX, () => true);
  }

  /** The store is another one than before, or may be: ask it for every id, and what it holds, again. */
  forgetStore(): void {
    for (const layout of this.layouts.values()) layout.id = undefined;
    this.layoutSets.clear();
    for (const boot of this.#boots.values()) {
      boot.id = undefined;
      boot.loaded = false;
      boot.committed = new SequenceSet();
    }
    this.observations.clear();
    this.seriesCount = undefined;
  }
}

function dropOldest<K, V>(map: Map<K, V>, max: number, mayGo: (value: V) => boolean): void {
  if (map.size <= max) return;
  for (const [key, value] of map) {
    if (!mayGo(value)) continue;
    map.delete(key);
    return;
  }
}
