/** A certificate authority for tests, made on the spot: no file that expires, and no program that may be missing. */
import { generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { isIP } from 'node:net';

function der(tag: number, ...content: readonly Buffer[]): Buffer {
  const body = Buffer.concat(content);
  const { length } = body;
  const head = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...head]), body]);
}

const sequence = (...content: readonly Buffer[]): Buffer => der(0x30, ...content);
const oid = (hex: string): Buffer => der(0x06, Buffer.from(hex, 'hex'));
const ECDSA_SHA256 = sequence(oid('2a8648ce3d040302'));
const nameOf = (name: string): Buffer => sequence(der(0x31, sequence(oid('550403'), der(0x0c, Buffer.from(name)))));
const timeOf = (ms: number): Buffer => der(0x18, Buffer.from(`${new Date(ms).toISOString().replace(/[-:T]/g, '').slice(0, 14)}Z`));
const extension = (id: string, value: Buffer): Buffer => sequence(oid(id), der(0x04, value));

interface Subject {
  name: string;
  key: KeyObject;
  extensions: readonly Buffer[];
}

function certificate(serial: number, subject: Subject, issuer: { name: string; key: KeyObject }): string {
  const now = Date.now();
  const content = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, Buffer.from([serial])),
    ECDSA_SHA256,
    nameOf(issuer.name),
    sequence(timeOf(now - 86_400_000), timeOf(now + 86_400_000)),
    nameOf(subject.name),
    subject.key.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(...subject.extensions)),
  );
  const signature = sign('sha256', content, issuer.key);
  const bytes = sequence(content, ECDSA_SHA256, der(0x03, Buffer.from([0]), signature));
  return `-----BEGIN CERTIFICATE-----\n${bytes.toString('base64').replace(/.{64}/g, '$&\n')}\n-----END CERTIFICATE-----\n`;
}

/** A server's certificate for a host name or an IPv4 address, and the authority that vouches for it; all PEM. */
export function testCertificate(host: string): { ca: string; cert: string; key: string } {
  const authority = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const server = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const alternative = isIP(host) === 4 ? der(0x87, Buffer.from(host.split('.').map(Number))) : der(0x82, Buffer.from(host));
  const issuer = { name: 'Test CA', key: authority.privateKey };
  const isAuthority = extension('551d13', sequence(der(0x01, Buffer.from([0xff]))));
  const key = server.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  return {
    ca: certificate(1, { name: 'Test CA', key: authority.publicKey, extensions: [isAuthority] }, issuer),
    cert: certificate(2, { name: host, key: server.publicKey, extensions: [extension('551d11', sequence(alternative))] }, issuer),
    key,
  };
}
