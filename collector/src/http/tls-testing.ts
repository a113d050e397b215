/** Certificate authorities for tests, made on the spot: no file that expires, and no program that may be missing. */
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { authorityCertificate, leafCertificate, type Issuer } from './tls-certificate.ts';

const DAY_MS = 86_400_000;

export interface Period {
  notBeforeMs?: number;
  notAfterMs?: number;
}

export interface IssuedCertificate {
  cert: string;
  key: string;
}

export class TestAuthority {
  readonly caPem: string;
  readonly caKeyPem: string;
  readonly #issuer: Issuer;

  constructor(name = `Test CA ${randomBytes(4).toString('hex')}`, period: Period = {}) {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    this.#issuer = { name, key: privateKey, publicKey };
    this.caKeyPem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    this.caPem = authorityCertificate({ ...this.#issuer, ...around(period) });
  }

  /** A certificate and its key, good for a day before and after now unless told. */
  issue(names: readonly string[], options: Period & { purpose?: 'server' | 'client' } = {}): IssuedCertificate {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const { purpose = 'server' } = options;
    return {
      cert: leafCertificate({ issuer: this.#issuer, publicKey, names, purpose, ...around(options) }),
      key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    };
  }
}

function around({ notBeforeMs = Date.now() - DAY_MS, notAfterMs = Date.now() + DAY_MS }: Period) {
  return { notBeforeMs, notAfterMs, serial: randomBytes(16) };
}

/** A server's certificate for a host name or an address, and the authority that vouches for it; all PEM. */
export function testCertificate(host: string): { ca: string; cert: string; key: string } {
  const authority = new TestAuthority();
  return { ca: authority.caPem, ...authority.issue([host]) };
}
