/**
 * The bundle as it stands now: checked when it is first asked for, made on demand in a checkout, and taken up anew when it
 * changes on disk. One thing is under way at a time, in the background; whoever asks meanwhile hears how far it is.
 */
import { OperationalFailure, type Clock, type Log } from '@tidemark/service';
import { identityOf, readBundle, type Bundle } from './bundle.ts';
import { runBundler, type Bundling, type Progress } from './bundler.ts';

export type ShelfState =
  | { kind: 'ready'; bundle: Bundle }
  | { kind: 'preparing'; progress: Progress }
  /** Not before `retryAfterSeconds` will it be tried again. */
  | { kind: 'unavailable'; sentence: string; retryAfterSeconds: number };

export interface ShelfOptions {
  /** Where the bundle lies. */
  directory: string;
  /** The program that makes it, where there is one; asked each time, for it may be built later. */
  bundler: () => string | undefined;
  /** Of this program: where a bundle can be made, one of another version is left from before an update. */
  version: string;
  clock: Clock;
  log: Log;
  run?: (bundling: Bundling) => Promise<void>;
}

const RETRY_MS = 60_000;

export class Shelf {
  readonly #options: ShelfOptions;
  readonly #stop = new AbortController();
  #bundle: Bundle | undefined;
  #identity: string | undefined;
  #work: Promise<void> | undefined;
  #progress: Progress = { percent: 0, what: 'beginning' };
  #trouble: { sentence: string; sinceMs: number; identity: string | undefined } | undefined;

  constructor(options: ShelfOptions) {
    this.#options = options;
  }

  /** How it stands now. What has to be done first is begun. */
  async look(): Promise<ShelfState> {
    const identity = await identityOf(this.#options.directory);
    if (this.#work !== undefined) return this.#preparing();
    if (this.#bundle !== undefined && identity === this.#identity) return { kind: 'ready', bundle: this.#bundle };
    if (this.#trouble !== undefined && this.#trouble.identity === identity) {
      const leftMs = this.#trouble.sinceMs + RETRY_MS - this.#options.clock.monotonicMs();
      if (leftMs > 0)
        return { kind: 'unavailable', sentence: this.#trouble.sentence, retryAfterSeconds: Math.max(Math.ceil(leftMs / 1_000), 1) };
    }
    if (this.#stop.signal.aborted) return { kind: 'unavailable', sentence: 'The collector is stopping.', retryAfterSeconds: 5 };
    this.#progress = { percent: 0, what: 'looking at what is there' };
    this.#work = this.#prepare().finally(() => (this.#work = undefined));
    return this.#preparing();
  }

  /** As `look`, and waits for what is under way, at the longest `waitMs`. */
  async settled(waitMs: number): Promise<ShelfState> {
    const state = await this.look();
    if (state.kind !== 'preparing' || this.#work === undefined) return state;
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<void>((resolve) => (timer = setTimeout(resolve, waitMs)));
    await Promise.race([this.#work, timeout]);
    clearTimeout(timer);
    return this.look();
  }

  /** A file was found to be another than the one that was checked: everything is looked at again. */
  doubt(): void {
    this.#bundle = undefined;
    this.#identity = undefined;
    this.#trouble = undefined;
  }

  /** Ends what is under way; resolves when it has ended. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#work;
  }

  #preparing(): ShelfState {
    return { kind: 'preparing', progress: this.#progress };
  }

  async #prepare(): Promise<void> {
    const { log, clock, directory } = this.#options;
    try {
      await this.#take();
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      if (!(error instanceof OperationalFailure)) throw error;
      this.#bundle = undefined;
      this.#trouble = { sentence: error.message, sinceMs: clock.monotonicMs(), identity: await identityOf(directory) };
      log.error({ reason: error.message }, 'the downloads for agents cannot be served');
    }
  }

  async #take(): Promise<void> {
    const { log, bundler, run = runBundler, directory, version } = this.#options;
    let read = await this.#read();
    const program = bundler();
    if (read.kind === 'whole' && program !== undefined && read.bundle.version !== version)
      read = { kind: 'incomplete', what: `the agent there is ${read.bundle.version}, and this is ${version}` };
    if (read.kind === 'incomplete') {
      if (program === undefined)
        throw new OperationalFailure(
          `This installation was shipped without its downloads, or has lost them: ${read.what}. Install it again.`,
        );
      log.info({ directory, reason: read.what }, 'making the downloads for agents; the first time this takes some minutes');
      await run({ program, directory, signal: this.#stop.signal, onProgress: (progress) => (this.#progress = progress) });
      read = await this.#read();
    }
    if (read.kind !== 'whole') {
      const remedy = program === undefined ? 'Install the collector again.' : `Delete ${directory}, and they are made anew.`;
      throw new OperationalFailure(`The downloads are not whole: ${read.what}. ${remedy}`);
    }
    const { bundle } = read;
    for (const { name, fault } of bundle.files.values()) {
      if (fault !== undefined) log.error({ file: name, directory }, `a download ${fault}: it is not served`);
    }
    this.#bundle = bundle;
    this.#trouble = undefined;
    log.info({ version: bundle.version, node: bundle.node, files: bundle.files.size }, 'the downloads for agents are ready');
  }

  async #read(): Promise<Awaited<ReturnType<typeof readBundle>>> {
    const { directory } = this.#options;
    // Before the reading: what changes meanwhile is seen as a change at the next look.
    this.#identity = await identityOf(directory);
    return readBundle(
      directory,
      (share) => (this.#progress = { percent: Math.floor(share * 100), what: 'checking what is there against SHA256SUMS' }),
      this.#stop.signal,
    );
  }
}
