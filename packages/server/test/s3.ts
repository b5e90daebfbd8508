import { once } from 'node:events';
import fs from 'node:fs';
import { type IncomingMessage, type Server, createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import S3rver from 's3rver';
import type { S3Options } from '../src/blobs/s3.ts';
import type { Config } from '../src/config.ts';

/** A store that speaks S3, in this process, on a free port and in a folder of its own. */
export interface TestS3 {
  options: S3Options;
  /** The same, as settings of a server. */
  config: Pick<Config, 's3Endpoint' | 's3Bucket' | 's3Region' | 's3AccessKey' | 's3SecretKey'>;
  /** Of all objects in the bucket. */
  keys(): string[];
  /** Makes objects look older. */
  age(key: string, ms: number): void;
  close(): Promise<void>;
}

const bucket = 'kith-files';
/** Those that s3rver knows. */
const credentials = { accessKey: 'S3RVER', secretKey: 'S3RVER' };
const suffix = '._S3rver_object';

export async function startS3(): Promise<TestS3> {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'kith-s3-'));
  const server = new S3rver({ port: 0, address: '127.0.0.1', silent: true, directory, vhostBuckets: false, configureBuckets: [{ name: bucket }] });
  writeAsPromised(server.store);
  const { port } = await server.run();
  const endpoint = `http://127.0.0.1:${port}`;
  const options = { endpoint, bucket, region: 'us-east-1', ...credentials };
  const folder = path.join(directory, bucket);
  return {
    options,
    config: settings(options),
    keys: () => fs.readdirSync(folder).flatMap((name) => (name.endsWith(suffix) ? [name.slice(0, -suffix.length)] : [])),
    age(key, ms) {
      const then = new Date(Date.now() - ms);
      fs.utimesSync(path.join(folder, key + suffix), then, then);
    },
    async close() {
      server.httpServer.closeAllConnections();
      await server.close();
      fs.rmSync(directory, { recursive: true, force: true });
    },
  };
}

const settings = ({ endpoint, bucket: name, region, accessKey, secretKey }: S3Options): TestS3['config'] => ({
  s3Endpoint: endpoint,
  s3Bucket: name,
  s3Region: region,
  s3AccessKey: accessKey,
  s3SecretKey: secretKey,
});

/**
 * What S3 promises and s3rver 3.7 does not: an object is there when its writing is answered, as a whole, and one whose
 * request broke off is not there at all. And the first byte can be asked for alone.
 */
function writeAsPromised(store: S3rver['store']): void {
  const write = async (file: string, content: Readable | Buffer): Promise<{ size: number; md5: string }> => {
    const bytes = Buffer.isBuffer(content) ? content : Buffer.concat((await content.toArray()) as Buffer[]);
    const md5 = createHash('md5').update(bytes).digest('hex');
    await fs.promises.writeFile(`${file}.new`, bytes);
    await fs.promises.rename(`${file}.new`, file);
    return { size: bytes.length, md5 };
  };
  store.putObject = async ({ bucket: name, key, content, metadata }) => {
    const written = await write(store.getResourcePath(name, key, 'object'), content);
    await store.putMetadata(name, key, metadata, written.md5);
    return written;
  };
  const getObject = store.getObject.bind(store);
  // It takes an end of 0 for none; an object is never nothing.
  store.getObject = (name, key, range) => getObject(name, key, range.end === 0 ? { ...range, end: Object(0) as number } : range);
  store.putPart = async (name, uploadId, partNumber, content) => {
    const folder = path.join(store.getResourcePath(name, undefined, 'uploads'), uploadId);
    const written = await write(path.join(folder, String(partNumber)), content);
    await fs.promises.writeFile(path.join(folder, `${partNumber}.md5`), written.md5);
    return written;
  };
}

/** What becomes of a request: it is passed on, whole or not; it is cut before that or before its answer; it is kept waiting; it is answered like this. */
export type Fate = 'pass' | 'forget the range' | 'cut' | 'cut the answer' | 'stop in the middle' | 'hang' | { status: number; code?: string };

/** A wire to the store that can break. `decide` is asked for each request in turn. */
export async function startBadWire({
  options,
}: TestS3): Promise<{ options: S3Options; config: TestS3['config']; decide: (request: IncomingMessage) => Fate; close(): Promise<void> }> {
  const to = new URL(options.endpoint);
  const server: Server = createServer((asked, answer) => {
    const fate = wire.decide(asked);
    if (fate === 'hang') return;
    if (fate === 'cut') {
      asked.socket.destroy();
      return;
    }
    if (typeof fate === 'object') {
      asked.resume();
      answer.writeHead(fate.status, { 'content-type': 'application/xml' }).end(`<Error><Code>${fate.code ?? 'Trouble'}</Code><Message>.</Message></Error>`);
      return;
    }
    // With the host that was signed; what is signed is looked up by its name.
    const headers = fate === 'forget the range' ? { ...asked.headers, range: 'lines=1-2' } : asked.headers;
    const onward = request({ host: to.hostname, port: to.port, method: asked.method!, path: asked.url!, headers }, (got) => {
      if (fate === 'cut the answer') {
        got.resume().once('end', () => asked.socket.destroy());
        return;
      }
      answer.writeHead(got.statusCode!, got.headers);
      if (fate === 'stop in the middle') got.once('data', (chunk) => answer.write(chunk));
      else got.pipe(answer);
    });
    onward.on('error', () => asked.socket.destroy());
    asked.pipe(onward);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const bad = { ...options, endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
  const wire = {
    options: bad,
    config: settings(bad),
    decide: (_request: IncomingMessage): Fate => 'pass',
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
  return wire;
}
