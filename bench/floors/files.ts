import fs from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';

// The floor for files: Node's own streams between a socket and a file, and nothing else. No sign-in, no rights, no hash, and
// whether the bytes would survive a power cut is nobody's business.

const [folder] = process.argv.slice(2);

const server = createServer((request, response) => {
  const file = path.join(folder!, path.basename(request.url!));
  const done =
    request.method === 'GET'
      ? pipeline(fs.createReadStream(file), response.setHeader('content-length', fs.statSync(file).size))
      : pipeline(request, fs.createWriteStream(file)).then(() => void response.writeHead(204).end());
  // Whoever measures counts what comes, and closes when it has all of it.
  done.catch(() => {});
});
server.listen(0, '127.0.0.1', () => process.stdout.write(`http://127.0.0.1:${(server.address() as AddressInfo).port}\n`));
