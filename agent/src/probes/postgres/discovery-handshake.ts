/**
 * Whether PostgreSQL listens on a port of this machine: asked by the request with which every client may begin, answered with
 * one byte. Where the server wants TLS then, it gets it, and a goodbye: to go away in the middle would be an error in its log.
 */
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

/** Length 8, SSLRequest (1234, 5679). */
const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);
const TIMEOUT_MS = 500;

/** Always ends within `timeoutMs` (500). Only for loopback addresses: it refuses others by answering false. */
export function answersAsPostgres(host: string, port: number, timeoutMs = TIMEOUT_MS): Promise<boolean> {
  if (!host.startsWith('127.') && host !== '::1') return Promise.resolve(false);
  return new Promise((resolve) => {
    const socket = connectTcp({ host, port });
    let answer = false;
    const timer = setTimeout(() => socket.destroy(), timeoutMs);
    socket.on('error', () => socket.destroy());
    socket.once('close', () => {
      clearTimeout(timer);
      resolve(answer);
    });
    socket.once('connect', () => socket.write(SSL_REQUEST));
    socket.once('data', (data: Buffer) => {
      // One byte and no more: what greets by itself (SSH, SMTP) says a whole line.
      const said = data.length === 1 ? data.toString('latin1') : '';
      answer = said === 'S' || said === 'N';
      if (said === 'S') completeTls(socket);
      else socket.end();
    });
    socket.once('end', () => socket.end());
  });
}

/** Nothing is sent over it and nothing is believed, so its certificate does not matter. */
function completeTls(socket: Socket): void {
  const secured = connectTls({ socket, rejectUnauthorized: false });
  secured.on('error', () => socket.destroy());
  secured.once('secureConnect', () => secured.end());
  secured.once('close', () => socket.destroy());
}
