/** The least a server in Node.js can do with a report: read it, parse it, say "committed". The collector's cost is read beside this one's. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import type { Acknowledgement, ReportRequest } from '@tidemark/protocol';

const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
  void text(request).then((body) => {
    const { reports } = JSON.parse(body) as ReportRequest;
    const acknowledgement: Acknowledgement = {
      serverTime: Date.now(),
      node: { name: 'floor', state: 'approved', site: '' },
      committed: reports.map(({ bootId, sequence }) => ({ bootId, sequences: [sequence] })),
      refused: [],
      layoutsMissing: [],
      thresholds: [],
      newAddress: null,
    };
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(acknowledgement));
  });
});
server.listen(0, '127.0.0.1', () => process.stdout.write(`${(server.address() as AddressInfo).port}\n`));
