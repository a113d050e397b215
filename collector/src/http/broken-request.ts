/** The last word to what is not a whole HTTP request: a problem document like every other error, written straight to the socket. */
import type { Socket } from 'node:net';
import { PROBLEMS, problem, type ProblemCode } from '@tidemark/protocol';
import { codeOf } from '@tidemark/service';

const DETAILS = {
  request_malformed: 'The bytes that came are no HTTP/1.1 request. Was https spoken to an address that takes http?',
  request_timeout: 'The connection is closed; send the whole request again.',
  headers_too_large: 'Send fewer or shorter headers: together they may be 16 KB.',
} as const satisfies Partial<Record<ProblemCode, string>>;

/** To be given to Fastify as its clientErrorHandler: the connection is over after this. */
export function answerBrokenRequest(error: Error, socket: Socket): void {
  const cause = codeOf(error);
  if (cause === 'ECONNRESET' || socket.destroyed) return;
  const code =
    cause === 'ERR_HTTP_REQUEST_TIMEOUT' ? 'request_timeout' : cause === 'HPE_HEADER_OVERFLOW' ? 'headers_too_large' : 'request_malformed';
  const body = JSON.stringify(problem(code, DETAILS[code]));
  if (socket.writable) {
    const { status } = PROBLEMS[code];
    const headers = `Content-Type: application/problem+json; charset=utf-8\r\nContent-Length: ${Buffer.byteLength(body)}\r\nCache-Control: no-store\r\nConnection: close`;
    socket.write(`HTTP/1.1 ${status} ${REASONS[code]}\r\n${headers}\r\n\r\n${body}`);
  }
  socket.destroySoon();
}

const REASONS = {
  request_malformed: 'Bad Request',
  request_timeout: 'Request Timeout',
  headers_too_large: 'Request Header Fields Too Large',
} as const;
