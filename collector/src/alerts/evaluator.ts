/**
 * Judges what reports bring, by the rules in force, and hands what follows to the recorder. It decides on the samples'
 * times; only silence is judged on arrival, by the live view. A calm series costs a comparison per level and no memory.
 */
import type { Labels } from '@tidemark/protocol';
import type { Clock, Log } from '@tidemark/service';
import type { NodeRecord } from '../fleet/node.ts';
import type { Entry, Happening, IncidentRecorder } from '../incidents/entry.ts';
import { newId, type RandomBytes } from '../incidents/id.ts';
import type { LiveView } from '../live/live-view.ts';
import type { RuleSource } from '../rules/rule.ts';
import type { AcceptedReport, ReportConsumer } from '../stream/stream.ts';
import { OWN_BRIDGE_MS, bridgeMs } from './bridge.ts';
import { Counters } from './counters.ts';
import { patienceMs, standing } from './gone.ts';
import { Instances, type Home, type Instance, type NodeInstances } from './instances.ts';
import type { Value } from './kinds/index.ts';
import { happeningOf, openingOf } from './happening.ts';
import { clockShift, noteTime } from './node-clock.ts';
import { blockPlanOf, fitsLabels, isAboutTheSame, keyOf, planOf, watchOf, type RulesPlan, type Watch } from './plan.ts';
import { OwnSeries, addPresent, isMeasured, observedIn } from './readings.ts';
import { findSnapshot, recentlyOver, restoreInstances, type RememberingBook } from './restore.ts';
import { SnapshotFile, SnapshotKeeper, writeSnapshot, type Elsewhere } from './snapshot.ts';
import { shifted } from './state.ts';
import { step, type Effect, type Input } from './step.ts';

export interface EvaluatorOptions {
  readonly rules: RuleSource;
  readonly recorder: IncidentRecorder & { readonly supersededBy?: number | undefined; readonly book: RememberingBook };
  readonly view: Pick<LiveView, 'node' | 'liveness'>;
  readonly fleet: { all(): Iterable<NodeRecord>; byId(id: number): NodeRecord | undefined };
  readonly clock: Clock;
  readonly random: RandomBytes;
  readonly log: Log;
  /** Where timers are kept over a restart: `alerts/evaluator.json` in it. Undefined: nowhere. */
  readonly dataDir: string | undefined;
  /** A second place for the same, asked at start and given a copy now and then. */
  readonly elsewhere?: Elsewhere;
  /** What makes a value of a series that the collector worked out, in a sentence. */
  readonly explain?: (nodeId: number, metric: string, labels: Labels) => string | undefined;
}

const TICK_MS = 1_000;
/** No rule looks back further than this. */
const LATE_MAX_MS = 25 * 3_600_000;

type Timed = Happening & { readonly at: number };

export class Evaluator implements ReportConsumer {
  readonly name = 'evaluator';
  readonly #options: EvaluatorOptions;
  readonly #instances = new Instances();
  readonly #counters = new Counters();
  readonly #own = new OwnSeries(() => this.#keeper.changed());
  readonly #file: SnapshotFile | undefined;
  readonly #keeper: SnapshotKeeper;
  /** Wall less monotonic clock at the start: a time of day that no setting of a clock moves. */
  readonly #steadyBase: number;
  /** Until when what is read out of the store has led to an alert that is over, by node and key. */
  readonly #overAt = new Map<string, number>();
  /** What this call to accept or tick has led to. */
  #out: Timed[] = [];
  #pass = 0;
  /** Calls to record that have not resolved, and all of them. */
  #unrecorded = 0;
  #recordings: Promise<unknown> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: EvaluatorOptions) {
    this.#options = options;
    const { clock, dataDir, log, elsewhere } = options;
    const file = dataDir === undefined ? undefined : new SnapshotFile(dataDir);
    this.#file = file;
    // What is written down must not be ahead of what is recorded.
    this.#keeper = new SnapshotKeeper({ file, elsewhere, clock, log, text: () => (this.#unrecorded > 0 ? undefined : this.export()) });
    this.#steadyBase = clock.wallMs() - clock.monotonicMs();
    options.recorder.onRecorded((entries) => this.#recorded(entries));
    options.rules.onChange(() => this.#rulesChanged());
  }

  /** Takes up what the book and the snapshot know. To be awaited before the first report. `from`: reports stored since then can be replayed. */
  async open(): Promise<{ from: number | undefined }> {
    const { recorder, fleet, rules, log, elsewhere } = this.#options;
    const snapshot = await findSnapshot(this.#file, elsewhere, log);
    for (const { nodeId, rule, labels, closedAt } of recentlyOver(recorder.book))
      this.#overAt.set(`${nodeId} ${keyOf(rule, labels)}`, closedAt);
    const found = restoreInstances(snapshot, {
      book: recorder.book,
      instances: this.#instances,
      nodeOf: (id) => fleet.byId(id),
      ruleOf: (record, name) => planOf(rules.current.for(record)).byName.get(name),
    });
    if (snapshot === undefined) {
      if (found.open > 0) log.warn(found, 'no kept timers of alerts: what is open goes on, what was about to open begins anew');
      return { from: undefined };
    }
    this.#counters.import(snapshot.counters);
    this.#own.import(snapshot.lost);
    log.info({ ...found, of: new Date(snapshot.savedAt).toISOString() }, 'timers of alerts go on');
    return { from: snapshot.savedAt };
  }

  /** What is remembered, as a text for `elsewhere`. */
  export(): string {
    const { clock, fleet } = this.#options;
    const wallMs = clock.wallMs();
    const lost = this.#own.export((id) => fleet.byId(id)?.state === 'approved');
    const remembered = { instances: this.#instances, counters: this.#counters, lost };
    return writeSnapshot(remembered, wallMs, clock.monotonicMs() + this.#steadyBase - wallMs);
  }

  /** Judges silence each second from now on. */
  start(): void {
    this.#overAt.clear();
    this.#timer = setInterval(() => this.tick(), TICK_MS);
    this.#timer.unref();
  }

  /** Decides nothing more and writes down what is remembered. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#timer);
    await this.#recordings;
    await this.#keeper.stop();
  }

  accept(report: AcceptedReport): void {
    this.#judge(report, report.live);
  }

  /** Takes a report out of the store: it fills what is remembered and decides nothing. In order of time within a node. */
  replay(report: AcceptedReport): void {
    this.#judge(report, false);
  }

  /** Alerts that may come or are open, and of those the open ones. */
  get counts(): { remembered: number; open: number } {
    return { remembered: this.#instances.count, open: this.#instances.openCount };
  }

  /** What an open alert is now, by the newest value that was judged; undefined when nobody knows. `at` is the value's time. */
  latest(incidentId: string): { readonly value: Value; readonly at: number } | undefined {
    const instance = this.#instances.byIncident(incidentId);
    if (instance === undefined || instance.isSteady) return undefined;
    const { value, at } = instance.state;
    return value === null || at === null ? undefined : { value, at };
  }

  /** Judges what no report brings: silence, and nodes that are no longer watched. Called each second. */
  tick(): void {
    if (this.#isOff()) return;
    const { fleet, view, rules } = this.#options;
    this.#pass++;
    for (const record of fleet.all()) {
      if (record.state !== 'approved') continue;
      const liveness = view.liveness(record);
      if (liveness === 'unknown') continue;
      const known = this.#instances.of(record.id);
      if (liveness === 'up' && known === undefined) continue;
      const plan = planOf(rules.current.for(record));
      if (known !== undefined) this.#reconcile(known, record, plan);
      this.#judgeSilence(record, plan, liveness === 'silent');
    }
    for (const { nodeId } of this.#instances.nodes()) {
      const record = fleet.byId(nodeId);
      if (record !== undefined && record.state !== 'approved') this.#retire(record);
    }
    this.#flush();
    this.#keeper.tick();
  }

  #isOff(): boolean {
    return this.#stopped || this.#options.recorder.supersededBy !== undefined;
  }

  #judge(report: AcceptedReport, live: boolean): void {
    const { node } = report;
    if (node.state !== 'approved' || this.#isOff()) return;
    if (!live && report.at < this.#options.clock.wallMs() - LATE_MAX_MS) return;
    const plan = planOf(this.#options.rules.current.for(node));
    this.#pass++;
    const known = this.#instances.of(node.id);
    if (known !== undefined) {
      this.#reconcile(known, node, plan);
      this.#place(known, report, live);
    }
    this.#judgeBlocks(report, plan, live);
    if (plan.observations.length > 0)
      for (const { rule, labels, value } of observedIn(report, plan)) this.#judgeOne(report, watchOf(rule, labels), value, live);
    if (live) {
      const heard = this.#options.view.node(node.id);
      if (heard !== undefined)
        for (const [watch, value] of this.#own.read(node.id, heard, plan)) this.#judgeOne(report, watch, value, true);
      if (!report.partial) this.#judgeUntouched(report, plan);
    }
    const after = this.#instances.of(node.id);
    if (after !== undefined && after.time.at === Number.NEGATIVE_INFINITY) {
      after.rules = plan.rules;
      noteTime(after.time, report, live ? this.#options.clock.monotonicMs() : undefined);
    }
    this.#flush();
  }

  /** Notes the report's time; when the clock was set since the one before, what is remembered moves along. */
  #place(known: NodeInstances, report: AcceptedReport, live: boolean): void {
    const arrivedMs = this.#options.clock.monotonicMs();
    if (!live) return noteTime(known.time, report, undefined);
    const shift = clockShift(known.time, report, arrivedMs);
    noteTime(known.time, report, arrivedMs);
    if (shift === 0) return;
    for (const instance of known.byKey.values()) if (!instance.isSteady) instance.state = shifted(instance.state, shift);
  }

  #judgeBlocks(report: AcceptedReport, plan: RulesPlan, live: boolean): void {
    const { node } = report;
    const compares = plan.hasCounters && this.#counters.begin(node.id, report);
    let known = this.#instances.of(node.id)?.byKey;
    const present = plan.absences.length === 0 ? undefined : new Set<number>();
    for (const { layout, values } of report.blocks) {
      const { watches, presences } = blockPlanOf(plan, layout);
      for (const watch of watches) {
        const raw = values[watch.position];
        if (!isMeasured(raw)) continue;
        let value: number = raw;
        if (watch.isCounter) {
          const rise = compares ? this.#counters.rise(node.id, watch.key, raw) : undefined;
          if (rise === undefined) continue;
          value = rise;
        }
        const instance = known?.get(watch.key);
        if (instance === undefined && watch.isCalm(value)) continue;
        this.#sample(report, watch, value, { live, home: layout });
        known = this.#instances.of(node.id)?.byKey;
      }
      for (const { position, absence } of presences) if (isMeasured(values[position])) present!.add(absence);
    }
    if (present !== undefined) this.#judgeAbsences(report, plan, present, live);
  }

  /** Of present and missing series. */
  #judgeAbsences(report: AcceptedReport, plan: RulesPlan, present: Set<number>, live: boolean): void {
    const saysWhatIsMissing = live && !report.partial;
    if (saysWhatIsMissing && present.size < plan.absences.length)
      addPresent(present, report, plan, this.#options.view.node(report.node.id));
    plan.absences.forEach((watch, absence) => {
      const isThere = present.has(absence);
      if (isThere || saysWhatIsMissing) this.#judgeOne(report, watch, !isThere, live);
    });
  }

  #judgeOne(report: AcceptedReport, watch: Watch, value: Value, live: boolean): void {
    if (this.#find(report.node.id, watch.key) !== undefined || !watch.isCalm(value))
      this.#sample(report, watch, value, { live, home: null });
  }

  /** What was remembered and did not come. */
  #judgeUntouched(report: AcceptedReport, plan: RulesPlan): void {
    const known = this.#instances.of(report.node.id);
    if (known === undefined) return;
    for (const instance of known.byKey.values()) {
      if (instance.mark === this.#pass || instance.isSteady) continue;
      const patience = patienceMs(instance, report.node, this.#options.view.node(report.node.id));
      this.#step(report.node, instance, { kind: standing(instance, report, plan), at: report.at, bridgeMs: patience });
    }
  }

  #judgeSilence(record: NodeRecord, plan: RulesPlan, isSilent: boolean): void {
    const heard = this.#options.view.node(record.id);
    // Added and never started: nobody has fallen silent.
    const neverSpoke = record.agentVersion === null && heard?.lastSeenAt === undefined;
    for (const watch of plan.silence) {
      const instance = this.#find(record.id, watch.key);
      if (instance === undefined && (!isSilent || neverSpoke)) continue;
      const at = this.#options.clock.monotonicMs() + this.#steadyBase;
      if (instance !== undefined) this.#resume(instance, at);
      const input: Input = { kind: 'sample', at, value: isSilent, live: true, bridgeMs: OWN_BRIDGE_MS };
      this.#begin(record, watch, instance, input, { home: null, isSteady: true });
    }
    if (!isSilent) return;
    for (const instance of this.#instances.of(record.id)?.byKey.values() ?? [])
      if (!instance.isSteady) this.#step(record, instance, { kind: 'silent' });
  }

  /** Of a time in which nobody listened (a restart, a stall) silence says nothing: it goes on as if that time had not been. */
  #resume(instance: Instance, at: number): void {
    const { state } = instance;
    const pausedMs = at - (state.at ?? at);
    if (pausedMs > OWN_BRIDGE_MS || pausedMs < 0) instance.state = shifted(state, pausedMs - 1);
  }

  #sample(report: AcceptedReport, watch: Watch, value: Value, { live, home }: { live: boolean; home: Home | null }): void {
    const { node, at } = report;
    const instance = this.#find(node.id, watch.key);
    if (this.#overAt.size > 0 && !live && at <= (this.#overAt.get(`${node.id} ${watch.key}`) ?? Number.NEGATIVE_INFINITY)) return;
    const input: Input = { kind: 'sample', at, value, live, bridgeMs: bridgeMs(node.intervalSeconds) };
    this.#begin(node, watch, instance, input, {
      home: home === null ? null : { probe: home.probe, instance: home.instance },
      isSteady: false,
    });
  }

  /** Steps an alert that may not be remembered yet. */
  #begin(
    node: NodeRecord,
    watch: Watch,
    instance: Instance | undefined,
    input: Input,
    { home, isSteady }: { home: Home | null; isSteady: boolean },
  ): void {
    if (instance !== undefined) {
      instance.mark = this.#pass;
      instance.home = home;
      return this.#step(node, instance, input);
    }
    const { state, effects } = step(watch.rule, undefined, input, this.#options.clock.wallMs());
    if (state === undefined) return;
    const { rule, key, labels } = watch;
    const added: Instance = { nodeId: node.id, key, labels, rule, state, incidentId: null, level: null, home, isSteady, mark: this.#pass };
    const wasOverfull = this.#instances.of(node.id)?.overfull === true;
    if (this.#instances.add(added)) this.#take(node, added, effects);
    else if (!wasOverfull) this.#options.log.warn({ node: node.name, rule: rule.name }, 'too many alerts of one node; more are not judged');
    this.#keeper.changed();
  }

  #step(node: NodeRecord, instance: Instance, input: Input): void {
    const { state, effects } = step(instance.rule, instance.state, input, this.#options.clock.wallMs());
    if (state !== instance.state) this.#keeper.changed();
    if (state !== undefined) instance.state = state;
    this.#take(node, instance, effects);
    if (state === undefined) this.#instances.remove(instance);
  }

  /** Turns effects into happenings, under the incident's id. */
  #take(node: NodeRecord, instance: Instance, effects: readonly Effect[]): void {
    for (const effect of effects) {
      const now = this.#options.clock.wallMs();
      const nodeIsSilent = effect.kind === 'data' && this.#options.view.liveness(node) === 'silent';
      const explanation =
        (effect.kind === 'opened' || effect.kind === 'level') && instance.rule.metric !== null
          ? this.#options.explain?.(node.id, instance.rule.metric, instance.labels)
          : undefined;
      const missingMs = instance.isSteady ? this.#missingMs(node) : undefined;
      const circumstances = { node, now, nodeIsSilent, missingMs, explanation };
      // The steady clock is nobody's time of day.
      const at = instance.isSteady ? now : effect.at;
      if (effect.kind === 'opened') {
        const incidentId = newId(now, this.#options.random);
        this.#instances.opened(instance, incidentId);
        this.#out.push({ kind: 'opened', opening: openingOf(instance, effect, incidentId, circumstances), at });
      } else if (instance.incidentId !== null) {
        this.#out.push({ ...happeningOf(instance, effect, instance.incidentId, circumstances), at });
        if (effect.kind === 'closed') this.#instances.closed(instance);
      }
      if (effect.kind === 'opened' || effect.kind === 'level') instance.level = effect.level;
    }
  }

  /** For how long a node has not been heard. */
  #missingMs(node: NodeRecord): number | undefined {
    const heard = this.#options.view.node(node.id);
    const { clock } = this.#options;
    if (heard?.heardMs !== undefined) return clock.monotonicMs() - heard.heardMs;
    return heard?.lastSeenAt === undefined ? undefined : Math.max(0, clock.wallMs() - heard.lastSeenAt);
  }

  /** Holds what is remembered of a node against the rules that apply to it now. */
  #reconcile(known: NodeInstances, node: NodeRecord, plan: RulesPlan): void {
    if (known.rules === plan.rules) return;
    known.rules = plan.rules;
    for (const instance of known.byKey.values()) {
      const { rule: before } = instance;
      const rule = plan.byName.get(before.name);
      if (rule === undefined) this.#step(node, instance, { kind: 'over', reason: 'rule_removed' });
      else if (rule.digest === before.digest) instance.rule = rule;
      else if (!isAboutTheSame(before, rule) || !fitsLabels(rule, instance.labels)) {
        instance.rule = rule;
        this.#step(node, instance, { kind: 'over', reason: 'rule_changed' });
      } else {
        instance.rule = rule;
        this.#step(node, instance, { kind: 'edited', before });
      }
    }
  }

  #rulesChanged(): void {
    if (this.#isOff()) return;
    const { fleet, rules } = this.#options;
    for (const known of this.#instances.nodes()) {
      const record = fleet.byId(known.nodeId);
      if (record?.state === 'approved') this.#reconcile(known, record, planOf(rules.current.for(record)));
    }
    this.#flush();
  }

  #retire(record: NodeRecord): void {
    for (const instance of this.#instances.of(record.id)?.byKey.values() ?? [])
      this.#step(record, instance, { kind: 'over', reason: 'retired' });
    this.#counters.forget(record.id);
    this.#own.forget(record.id);
  }

  #find(nodeId: number, key: string): Instance | undefined {
    return this.#instances.of(nodeId)?.byKey.get(key);
  }

  /** Somebody else closed an alert: nothing of it is remembered, and it has to become true anew. */
  #recorded(entries: readonly Entry[]): void {
    for (const entry of entries) {
      const instance = entry.kind === 'closed' ? this.#instances.byIncident(entry.incidentId) : undefined;
      if (instance !== undefined) this.#instances.remove(instance);
    }
  }

  #flush(): void {
    if (this.#out.length === 0) return;
    const happenings = this.#out;
    this.#out = [];
    this.#keeper.changed();
    this.#unrecorded++;
    const recording = this.#options.recorder
      .record(happenings)
      .catch((error: unknown) => this.#options.log.error({ err: error }, 'what was decided could not be recorded'))
      .finally(() => this.#unrecorded--);
    this.#recordings = Promise.all([this.#recordings, recording]);
  }
}
