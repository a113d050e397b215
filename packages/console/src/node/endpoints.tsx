/** What the agent last saw of each HTTP endpoint: whether it answers, how fast, and how long its certificate still holds. */
import type { NodeDetail } from '@tidemark/protocol';
import type { JSX } from 'preact';
import { formatValue } from '../chart/units.ts';
import { levelOf, type BoundsInForce } from '../fleet/bounds.ts';
import { NOTHING, formatDuration } from '../format/quantities.ts';
import { WarningShape } from '../look/symbols.tsx';

/** Certificates are renewed a month before their end; later than this somebody forgot. */
const EXPIRES_SOON_S = 14 * 86_400;

export interface EndpointSeen {
  name: string;
  up: boolean | null;
  /** Of the last answer; null when there was none. */
  status: number | null;
  responseSeconds: number | null;
  errorRatio: number | null;
  expiresSeconds: number | null;
}

/** The endpoints of a last report, those that do not answer first. */
export function endpointsOf(latest: NodeDetail['latest']): EndpointSeen[] {
  const endpoints = new Map<string, EndpointSeen>();
  for (const { metric, labels, value } of latest) {
    if (!metric.startsWith('tidemark_http_')) continue;
    const name = labels.find(([key]) => key === 'endpoint')?.[1];
    if (name === undefined) continue;
    const seen = endpoints.get(name) ?? { name, up: null, status: null, responseSeconds: null, errorRatio: null, expiresSeconds: null };
    endpoints.set(name, seen);
    const number = typeof value === 'number' ? value : null;
    if (metric === 'tidemark_http_up') seen.up = number === null ? null : number === 1;
    else if (metric === 'tidemark_http_status_code') seen.status = number === 0 ? null : number;
    else if (metric === 'tidemark_http_response_seconds') seen.responseSeconds = number;
    else if (metric === 'tidemark_http_error_ratio') seen.errorRatio = number;
    else if (metric === 'tidemark_http_certificate_expires_seconds') seen.expiresSeconds = number;
  }
  return [...endpoints.values()].toSorted((a, b) => Number(a.up ?? true) - Number(b.up ?? true) || a.name.localeCompare(b.name));
}

const tint = (level: ReturnType<typeof levelOf>): string =>
  level === 'critical' ? 'number bad' : level === 'warning' ? 'number warn' : 'number';

export function Endpoints({ latest, bounds }: { latest: NodeDetail['latest']; bounds: BoundsInForce }): JSX.Element | null {
  const endpoints = endpointsOf(latest);
  if (endpoints.length === 0) return null;
  return (
    <div class="scroller" tabIndex={0} role="region" aria-label="HTTP endpoints">
      <table>
        <thead>
          <tr>
            <th scope="col">Endpoint</th>
            <th scope="col">State</th>
            <th scope="col" class="number">
              Response
            </th>
            <th scope="col" class="number">
              Errors
            </th>
            <th scope="col" class="number">
              Certificate ends in
            </th>
          </tr>
        </thead>
        <tbody>
          {endpoints.map(({ name, up, status, responseSeconds, errorRatio, expiresSeconds }) => (
            <tr key={name}>
              <th scope="row">{name}</th>
              <td>
                {up === false ? (
                  <span class="bad">
                    <WarningShape /> down
                    {status === null ? ', no answer' : `, ${status}`}
                  </span>
                ) : up === null ? (
                  <span class="muted">not known</span>
                ) : (
                  <>up {status === null ? null : <span class="muted">{status}</span>}</>
                )}
              </td>
              <td class={tint(levelOf(responseSeconds, bounds.response))}>{formatValue(responseSeconds, 'seconds')}</td>
              <td class={tint(levelOf(errorRatio, bounds.errors))}>{formatValue(errorRatio, 'ratio')}</td>
              <td class={expiresSeconds !== null && expiresSeconds < EXPIRES_SOON_S ? 'number warn' : 'number'}>
                {expiresSeconds === null ? (
                  <span class="muted">{NOTHING}</span>
                ) : expiresSeconds <= 0 ? (
                  'ended'
                ) : (
                  formatDuration(expiresSeconds)
                )}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
