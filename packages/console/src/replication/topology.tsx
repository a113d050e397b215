/**
 * A cluster's picture: boxes and the lag on each edge between them, or on a narrow screen the same as an indented list.
 * The table below says all of it again; what is drawn here can be reached by keyboard and heard in the order of the tree.
 */
import { signal, useSignal, type Signal } from '@preact/signals';
import type { ReplicationCluster, ReplicationInstance } from '@tidemark/protocol';
import type { JSX } from 'preact';
import { useEffect, useId, useMemo, useRef } from 'preact/hooks';
import { bounds } from '../fleet/bounds.ts';
import { formatBytes } from '../format/quantities.ts';
import { nodePath } from '../router.ts';
import { Account } from './account.tsx';
import { edgePath, type Box } from './layout.ts';
import { SLOT_WORDS, SlotShape, StateMark } from './marks.tsx';
import { MEASURES, pictureOf, type DrawnSlot, type Ghost, type Member, type Picture } from './picture.ts';
import { catchupText, formatShortMinute, isBehind, lagLevel, lagWords } from './words.ts';
import './topology.css';

const narrow = typeof matchMedia === 'function' ? matchMedia('(max-width: 640px)') : null;
const isNarrow = signal(narrow?.matches === true);
narrow?.addEventListener('change', (event) => {
  isNarrow.value = event.matches;
});

/** Whose account is shown, and below which of its parts. */
interface Told {
  id: string;
  left: number;
  top: number;
}
interface Teller {
  told: Signal<Told | null>;
  tipId: string;
}

/** Shows the account while its part is pointed at or has the focus. */
function telling({ told, tipId }: Teller, id: string) {
  const show = (event: { currentTarget: HTMLElement }): void => {
    const box = event.currentTarget.getBoundingClientRect();
    told.value = { id, left: box.left, top: box.bottom + 6 };
  };
  const hide = (): void => {
    if (told.peek()?.id === id) told.value = null;
  };
  return {
    onMouseEnter: show,
    onMouseLeave: hide,
    onFocus: show,
    onBlur: hide,
    onClick: show,
    onKeyDown: (event: KeyboardEvent) => {
      if (event.key === 'Escape') hide();
    },
    ...(told.value?.id === id ? { 'aria-describedby': tipId } : {}),
  };
}

const TIP_WIDTH_PX = 340;

function Tip({ teller, cluster, nowMs }: { teller: Teller; cluster: ReplicationCluster; nowMs: number }): JSX.Element | null {
  const told = teller.told.value;
  const tip = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const shown = tip.current;
    if (told === null || shown === null) return;
    const { height } = shown.getBoundingClientRect();
    // Above it where there is no room below.
    if (told.top + height > innerHeight - 8) shown.style.top = `${Math.max(8, innerHeight - height - 8)}px`;
    const hide = (): void => {
      teller.told.value = null;
    };
    addEventListener('scroll', hide, { passive: true, once: true });
    return () => removeEventListener('scroll', hide);
  }, [told, teller]);
  const instance = cluster.instances.find(({ id }) => id === told?.id);
  if (told === null || instance === undefined) return null;
  const left = Math.max(8, Math.min(told.left, document.documentElement.clientWidth - TIP_WIDTH_PX - 8));
  return (
    <div ref={tip} id={teller.tipId} role="tooltip" class="r-tip" style={{ left: `${left}px`, top: `${told.top}px` }}>
      <Account instance={instance} nowMs={nowMs} />
    </div>
  );
}

function SlotTag({ slot, mood, level, danger }: DrawnSlot): JSX.Element {
  return (
    <span class={`r-slot slot-${mood} slot-of-${level ?? 'none'}`} title={`Replication slot ${slot.name}: ${SLOT_WORDS[mood]}`}>
      <span class="r-slot-line">
        <SlotShape mood={mood} />
        <span class="r-slot-name">{slot.name}</span>
        <span class="unseen">slot, {SLOT_WORDS[mood]}, keeps </span>
        {slot.retainedBytes === null ? null : <span class="r-slot-kept">{formatBytes(slot.retainedBytes)}</span>}
      </span>
      {danger === null ? null : <span class="r-slot-danger">{danger}</span>}
    </span>
  );
}

const SYNC_WORDS: Record<string, string> = { sync: 'sync', quorum: 'quorum' };

/** What stands in a box: name, state, role and site, what it is behind the primary, its slots. */
function MemberBody({ member, nowMs }: { member: Member; nowMs: number }): JSX.Element {
  const { instance, slots, moreSlots, timeline } = member;
  const sync = SYNC_WORDS[instance.syncState ?? ''];
  return (
    <>
      <span class="r-name-line">
        <span class="r-name" title={instance.name}>
          <bdi>{instance.name}</bdi>
        </span>
        {timeline === null ? null : (
          <span class="r-tag r-tag-timeline" title={`On timeline ${timeline}`}>
            <span aria-hidden="true">TL {timeline}</span>
            <span class="unseen">timeline {timeline}</span>
          </span>
        )}
        {sync === undefined ? null : (
          <span class="r-tag r-tag-sync" title="Commits wait for it">
            {sync}
          </span>
        )}
      </span>
      <StateMark state={instance.state} />
      <span class="r-where">
        <span class={instance.role === 'primary' ? 'r-primary' : undefined}>
          {instance.role === 'unknown' ? 'role not known' : instance.role}
        </span>
        {instance.watched ? (instance.site === '' ? '' : ` · ${instance.site}`) : ' · not watched'}
      </span>
      {member.isCascade ? <span class="r-where">{lagWords(instance.lag, nowMs).value.replace('at least', '≥')} behind primary</span> : null}
      {slots.length === 0 ? null : (
        <span class="r-slots">
          {slots.map((slot) => (
            <SlotTag key={slot.slot.name} {...slot} />
          ))}
          {moreSlots === 0 ? null : <span class="r-slot muted">and {moreSlots} more slots</span>}
        </span>
      )}
    </>
  );
}

function boxClass(place: Member | Ghost): string {
  if (place.kind === 'ghost') return 'r-box r-ghost';
  const { instance } = place;
  return `r-box box-${instance.state}${instance.watched ? '' : ' r-unwatched'}${instance.role === 'primary' ? ' r-box-primary' : ''}`;
}

/** A box: a link to the node's page where an agent watches it. */
function Place({ place, teller, nowMs }: { place: Member | Ghost; teller: Teller; nowMs: number }): JSX.Element {
  if (place.kind === 'ghost')
    return (
      <span class={boxClass(place)}>
        <span class="r-name" title={place.title}>
          {place.title}
        </span>
        <span class="r-where">{place.note}</span>
      </span>
    );
  const body = <MemberBody member={place} nowMs={nowMs} />;
  const on = telling(teller, place.id);
  return place.instance.node === null ? (
    <span class={boxClass(place)} tabIndex={0} role="group" aria-label={`${place.instance.name}, not watched`} {...on}>
      {body}
    </span>
  ) : (
    <a class={boxClass(place)} href={nodePath(place.instance.node)} {...on}>
      {body}
    </a>
  );
}

/** How an edge is drawn. */
export function edgeKind(instance: ReplicationInstance): 'flow' | 'held' | 'broken' | 'loose' {
  if (instance.state === 'disconnected' || instance.state === 'down' || instance.state === 'archive_recovery') return 'broken';
  if (!instance.watched || instance.role === 'subscriber') return 'loose';
  return instance.state === 'streaming' || instance.state === 'catching_up' ? 'flow' : 'held';
}

/** What most of the lag is made of: on its way, or come and not replayed. */
function backlogText({ transportBytes, replayBytes, lag, edgeLag }: ReplicationInstance): string | null {
  const own = edgeLag ?? lag;
  // The backlogs may be of another moment: beside "0 s" they would only puzzle.
  if (own !== null && !isBehind(own)) return null;
  const [transport, replay] = [transportBytes ?? 0, replayBytes ?? 0];
  if (transport + replay > 0) return transport > replay ? `${formatBytes(transport)} not received` : `${formatBytes(replay)} not replayed`;
  const bytes = own?.bytes ?? null;
  return bytes === null || bytes === 0 ? null : `${formatBytes(bytes)} of WAL`;
}

/** The lag, and below it what comes of it. */
function EdgeLabel({ instance, teller, nowMs }: { instance: ReplicationInstance; teller: Teller; nowMs: number }): JSX.Element {
  const own = instance.edgeLag ?? instance.lag;
  const { value } = lagWords(own, nowMs);
  const level = lagLevel(own, instance.delaySeconds, bounds.value.lag);
  const unknown = own?.unknownSince ?? null;
  const below =
    (instance.state === 'paused' ? null : catchupText(instance)) ??
    (unknown === null ? backlogText(instance) : `unknown since ${formatShortMinute(unknown, nowMs)}`);
  return (
    <button type="button" class={`r-edge-label lag-${level}`} {...telling(teller, instance.id)}>
      <span class="unseen">
        {instance.name} is behind{instance.upstream === null ? '' : ` ${instance.upstream}`}:{' '}
      </span>
      <span class="r-lag">{value}</span>
      {below === null ? null : <span class="r-below">{below}</span>}
    </button>
  );
}

const TRUNK_PX = 22;

function Edges({ picture }: { picture: Picture }): JSX.Element {
  const { layout, places } = picture;
  const boxes = new Map(layout.boxes.map((box) => [box.id, box]));
  const edges = layout.boxes.flatMap((to): { from: Box; to: Box; instance: ReplicationInstance }[] => {
    const [from, place] = [boxes.get(to.parent ?? ''), places.get(to.id)];
    return from === undefined || place?.kind !== 'member' ? [] : [{ from, to, instance: place.instance }];
  });
  return (
    <svg class="r-edges" width={layout.width} height={layout.height} aria-hidden="true">
      {edges.map(({ from, to, instance }) => {
        const y = to.y + to.height / 2;
        const kind = edgeKind(instance);
        const sync = instance.syncState === 'sync' || instance.syncState === 'quorum';
        return (
          <g key={to.id} class={`r-edge edge-${kind} edge-of-${instance.state}${sync ? ' edge-sync' : ''}`}>
            <path d={edgePath(from, { ...to, x: to.x - 5 }, from.x + from.width + TRUNK_PX)} />
            {kind === 'broken' ? (
              <path class="r-head" d={`M${to.x - 13} ${y - 4}l8 8m0-8l-8 8`} />
            ) : (
              <path class="r-head" d={`M${to.x - 9} ${y - 4}l5 4-5 4`} />
            )}
          </g>
        );
      })}
    </svg>
  );
}

function Drawing({ picture, teller, nowMs }: { picture: Picture; teller: Teller; nowMs: number }): JSX.Element {
  const { layout, places } = picture;
  return (
    <div class="r-drawing" style={{ width: `${layout.width}px`, height: `${layout.height}px` }}>
      <Edges picture={picture} />
      {layout.captions.map(({ text, y }) => (
        <p key={`${y} ${text}`} class="r-caption" style={{ top: `${y}px` }}>
          {text}
        </p>
      ))}
      {layout.boxes.map((box) => {
        const place = places.get(box.id);
        if (place === undefined) return null;
        const middle = box.y + box.height / 2;
        const left = box.x - MEASURES.gapX + TRUNK_PX + 10;
        return (
          <div key={box.id} class="r-place">
            {box.parent !== null && place.kind === 'member' ? (
              <div class="r-edge-place" style={{ left: `${left}px`, top: `${middle}px`, width: `${MEASURES.gapX - TRUNK_PX - 24}px` }}>
                <EdgeLabel instance={place.instance} teller={teller} nowMs={nowMs} />
              </div>
            ) : null}
            <div class="r-box-place" style={{ left: `${box.x}px`, top: `${box.y}px`, width: `${box.width}px`, height: `${box.height}px` }}>
              <Place place={place} teller={teller} nowMs={nowMs} />
            </div>
          </div>
        );
      })}
    </div>
  );
}

/** The same for a narrow screen: a list in a list for each step from the primary. */
function Indented({ picture, teller, nowMs }: { picture: Picture; teller: Teller; nowMs: number }): JSX.Element {
  const { layout, places, parts } = picture;
  const below = (id: string): JSX.Element[] => layout.boxes.filter(({ parent }) => parent === id).map(step);
  const step = (box: Box): JSX.Element => {
    const place = places.get(box.id);
    const children = below(box.id);
    const caption = box.depth > 0 ? undefined : parts.find(({ items }) => items.some(({ id }) => id === box.id));
    return (
      <li key={box.id}>
        {caption?.caption == null ? null : <p class="r-caption">{caption.caption}</p>}
        {box.parent !== null && place?.kind === 'member' ? <EdgeLabel instance={place.instance} teller={teller} nowMs={nowMs} /> : null}
        {place === undefined ? null : <Place place={place} teller={teller} nowMs={nowMs} />}
        {children.length === 0 ? null : <ul>{children}</ul>}
      </li>
    );
  };
  return <ul class="r-indented">{layout.boxes.filter(({ parent }) => parent === null).map(step)}</ul>;
}

/** How wide the picture of a cluster is, in pixels. */
export const widthOf = (cluster: ReplicationCluster): number => pictureOf(cluster, 0, bounds.value.diskFull).layout.width;

export function Topology({ cluster, nowMs }: { cluster: ReplicationCluster; nowMs: number }): JSX.Element {
  const told = useSignal<Told | null>(null);
  const tipId = useId();
  const teller = useMemo(() => ({ told, tipId }), [told, tipId]);
  const { diskFull } = bounds.value;
  const picture = useMemo(() => pictureOf(cluster, nowMs, diskFull), [cluster, nowMs, diskFull]);
  return (
    <div class="r-topology" role="group" aria-label={`Topology of ${cluster.name}`}>
      {isNarrow.value ? (
        <Indented picture={picture} teller={teller} nowMs={nowMs} />
      ) : (
        <div class="r-scroller">
          <Drawing picture={picture} teller={teller} nowMs={nowMs} />
        </div>
      )}
      <Tip teller={teller} cluster={cluster} nowMs={nowMs} />
    </div>
  );
}
