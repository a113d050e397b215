/** What the storage holds and what it will come to: a bar of the disk with what is used, what is expected, and where it ends. */
import type { Settings } from '@tidemark/protocol';
import type { JSX } from 'preact';
import { countOf, formatBytes } from '../format/quantities.ts';
import { WarningShape } from '../look/symbols.tsx';
import { Section } from './section.tsx';

/** Sooner than this it is worth somebody's evening. */
const SOON_DAYS = 14;

function verdict(storage: Settings['storage']): JSX.Element {
  const { fullInDays, expectedBytes, diskAvailableBytes, usedBytes } = storage;
  if (usedBytes === null) return <span class="warn">Not known just now: the database does not answer.</span>;
  if (expectedBytes === null) return <span>What it will come to is known after the first whole day.</span>;
  if (fullInDays !== null)
    return (
      <span class={fullInDays < SOON_DAYS ? 'bad' : 'warn'}>
        <WarningShape /> The disk is full in about {countOf(Math.max(1, Math.round(fullInDays)), 'day')}, before the retention is: keep
        fewer days, or give it {formatBytes(expectedBytes - usedBytes - (diskAvailableBytes ?? 0))} more.
      </span>
    );
  if (diskAvailableBytes === null)
    return <span>It will come to {formatBytes(expectedBytes)}. How much is free there is not known here.</span>;
  return (
    <span>
      It fits: {formatBytes(expectedBytes)} is expected, {formatBytes(usedBytes + diskAvailableBytes)} is there for it.
    </span>
  );
}

function DiskBar({ storage }: { storage: Settings['storage'] }): JSX.Element | null {
  const { usedBytes, expectedBytes, diskAvailableBytes } = storage;
  if (usedBytes === null || expectedBytes === null) return null;
  const end = diskAvailableBytes === null ? null : usedBytes + diskAvailableBytes;
  const most = Math.max(expectedBytes, end ?? 0) * 1.04;
  const share = (bytes: number): string => `${((bytes / most) * 100).toFixed(2)}%`;
  return (
    <div class="disk-bar" aria-hidden="true">
      <span class="disk-expected" style={{ width: share(expectedBytes) }} />
      <span class="disk-used" style={{ width: share(usedBytes) }} />
      {end === null ? null : <span class="disk-end" style={{ left: share(end) }} />}
    </div>
  );
}

export function StorageSection({ settings }: { settings: Settings }): JSX.Element {
  const { storage, retention } = settings;
  return (
    <Section id="storage" title="Storage">
      <p>{verdict(storage)}</p>
      <DiskBar storage={storage} />
      <dl class="facts storage-facts">
        <div class="fact">
          <dt>
            <span class="key key-used" aria-hidden="true" /> Used
          </dt>
          <dd>{formatBytes(storage.usedBytes)}</dd>
        </div>
        <div class="fact">
          <dt>
            <span class="key key-expected" aria-hidden="true" /> Expected
          </dt>
          <dd>{formatBytes(storage.expectedBytes)}</dd>
        </div>
        <div class="fact">
          <dt>
            <span class="key key-end" aria-hidden="true" /> Free on the disk
          </dt>
          <dd>{formatBytes(storage.diskAvailableBytes)}</dd>
        </div>
        <div class="fact">
          <dt>A day takes</dt>
          <dd>{formatBytes(storage.reportsBytesPerDay)}</dd>
        </div>
        <div class="fact">
          <dt>Kept</dt>
          <dd>
            reports {countOf(retention.reportDays, 'day')}, observations {countOf(retention.observationDays, 'day')}
          </dd>
        </div>
        <div class="fact">
          <dt>Database</dt>
          <dd>{storage.database}</dd>
        </div>
      </dl>
    </Section>
  );
}
