/**
 * X.509 certificates of the collector's own making: an authority, and what it signs for a server. Pure but for the signature's
 * randomness: keys, names, times and serial numbers are given. Every address and name stands in the subject alternative name,
 * which is all that today's clients look at.
 */
import { createHash, sign, type KeyObject } from 'node:crypto';
import { isIP } from 'node:net';
import { AsnConvert, OctetString } from '@peculiar/asn1-schema';
import {
  AlgorithmIdentifier,
  AttributeTypeAndValue,
  AttributeValue,
  AuthorityKeyIdentifier,
  BasicConstraints,
  Certificate,
  ExtendedKeyUsage,
  Extension,
  Extensions,
  GeneralName,
  KeyIdentifier,
  KeyUsage,
  KeyUsageFlags,
  Name,
  RelativeDistinguishedName,
  SubjectAlternativeName,
  SubjectKeyIdentifier,
  SubjectPublicKeyInfo,
  TBSCertificate,
  Validity,
  Version,
  id_ce_authorityKeyIdentifier,
  id_ce_basicConstraints,
  id_ce_extKeyUsage,
  id_ce_keyUsage,
  id_ce_subjectAltName,
  id_ce_subjectKeyIdentifier,
  id_kp_clientAuth,
  id_kp_serverAuth,
} from '@peculiar/asn1-x509';

const ECDSA_WITH_SHA256 = '1.2.840.10045.4.3.2';
const ORGANISATION_NAME = '2.5.4.10';
const NAME = '2.5.4.3';
/** X.520 bounds both. */
const NAME_MAX = 64;
/** RFC 5280 allows 20 octets; these are positive whatever the first bit is. */
const SERIAL_BYTES = 16;

export interface Issuer {
  /** Its common name. */
  name: string;
  /** An elliptic-curve key. */
  key: KeyObject;
  publicKey: KeyObject;
}

interface Period {
  notBeforeMs: number;
  notAfterMs: number;
  /** At least 16 bytes of randomness. */
  serial: Buffer;
}

export interface AuthorityOptions extends Issuer, Period {}

export interface LeafOptions extends Period {
  issuer: Issuer;
  publicKey: KeyObject;
  /** Host names (`*.example` included) and addresses. */
  names: readonly string[];
  purpose?: 'server' | 'client';
}

/** The certificate of an authority that signs servers and nothing below them, as PEM. */
export function authorityCertificate(options: AuthorityOptions): string {
  return certificate(options, options.name, options.publicKey, options, [
    extension(id_ce_basicConstraints, new BasicConstraints({ cA: true, pathLenConstraint: 0 }), true),
    extension(id_ce_keyUsage, new KeyUsage(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign), true),
    extension(id_ce_subjectKeyIdentifier, new SubjectKeyIdentifier(keyIdentifier(options.publicKey))),
  ]);
}

/** A certificate that an authority signs, as PEM. */
export function leafCertificate(options: LeafOptions): string {
  const { issuer, publicKey, names, purpose = 'server' } = options;
  const isName = (name: string): boolean => isIP(name) === 0 && name.length <= NAME_MAX;
  return certificate(options, names.find(isName) ?? 'collector', publicKey, issuer, [
    extension(id_ce_basicConstraints, new BasicConstraints({ cA: false }), true),
    extension(id_ce_keyUsage, new KeyUsage(KeyUsageFlags.digitalSignature), true),
    extension(id_ce_extKeyUsage, new ExtendedKeyUsage([purpose === 'server' ? id_kp_serverAuth : id_kp_clientAuth])),
    extension(
      id_ce_subjectAltName,
      new SubjectAlternativeName(names.map((name) => new GeneralName(isIP(name) === 0 ? { dNSName: name } : { iPAddress: name }))),
    ),
    extension(id_ce_subjectKeyIdentifier, new SubjectKeyIdentifier(keyIdentifier(publicKey))),
    extension(
      id_ce_authorityKeyIdentifier,
      new AuthorityKeyIdentifier({ keyIdentifier: new KeyIdentifier(keyIdentifier(issuer.publicKey)) }),
    ),
  ]);
}

/** `sha256//…`, as `curl --pinnedpubkey` takes it. */
export function pinOf(publicKey: KeyObject): string {
  return `sha256//${createHash('sha256').update(spki(publicKey)).digest('base64')}`;
}

function certificate(
  { notBeforeMs, notAfterMs, serial }: Period,
  subject: string,
  publicKey: KeyObject,
  issuer: Issuer,
  extensions: Extension[],
): string {
  const algorithm = new AlgorithmIdentifier({ algorithm: ECDSA_WITH_SHA256 });
  const content = new TBSCertificate({
    version: Version.v3,
    serialNumber: serialNumber(serial),
    signature: algorithm,
    issuer: nameOf(issuer.name),
    validity: new Validity({ notBefore: new Date(notBeforeMs), notAfter: new Date(notAfterMs) }),
    subject: nameOf(subject),
    subjectPublicKeyInfo: AsnConvert.parse(spki(publicKey), SubjectPublicKeyInfo),
    extensions: new Extensions(extensions),
  });
  const signatureValue = arrayBuffer(sign('sha256', Buffer.from(AsnConvert.serialize(content)), issuer.key));
  const der = AsnConvert.serialize(new Certificate({ tbsCertificate: content, signatureAlgorithm: algorithm, signatureValue }));
  return `-----BEGIN CERTIFICATE-----\n${Buffer.from(der)
    .toString('base64')
    .replace(/.{64}(?=.)/g, '$&\n')}\n-----END CERTIFICATE-----\n`;
}

const extension = (extnID: string, value: object, critical = false): Extension =>
  new Extension({ extnID, critical, extnValue: new OctetString(AsnConvert.serialize(value)) });

function nameOf(text: string): Name {
  const part = (type: string, utf8String: string): RelativeDistinguishedName =>
    new RelativeDistinguishedName([new AttributeTypeAndValue({ type, value: new AttributeValue({ utf8String }) })]);
  return new Name([part(ORGANISATION_NAME, 'Tidemark'), part(NAME, text.slice(0, NAME_MAX))]);
}

function serialNumber(random: Buffer): ArrayBuffer {
  const bytes = Buffer.from(random.subarray(0, SERIAL_BYTES));
  // Positive, and never shorter than it looks.
  bytes[0] = (bytes[0]! % 0x7f) + 1;
  return arrayBuffer(bytes);
}

const spki = (key: KeyObject): Buffer => key.export({ type: 'spki', format: 'der' });

/** The first method of RFC 7093: SHA-256 of the key, cut to 160 bits. */
function keyIdentifier(publicKey: KeyObject): ArrayBuffer {
  const { subjectPublicKey } = AsnConvert.parse(spki(publicKey), SubjectPublicKeyInfo);
  return arrayBuffer(createHash('sha256').update(Buffer.from(subjectPublicKey)).digest().subarray(0, 20));
}

/** Bytes of their own: what a small Buffer shows is a part of a larger pool. */
const arrayBuffer = (bytes: Buffer): ArrayBuffer => new Uint8Array(bytes).buffer;
