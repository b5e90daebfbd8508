/** What we use of it; it brings no types. */
declare module 's3rver' {
  import type { Server } from 'node:http';
  import type { AddressInfo } from 'node:net';
  import type { Readable } from 'node:stream';

  type Written = Promise<{ size: number; md5: string }>;

  export default class S3rver {
    constructor(options: { port: number; address: string; silent: boolean; directory: string; vhostBuckets: boolean; configureBuckets: { name: string }[] });
    readonly httpServer: Server;
    readonly store: {
      getResourcePath(bucket: string, key: string | undefined, resource: string): string;
      putMetadata(bucket: string, key: string, metadata: object, md5: string): Promise<void>;
      getObject(bucket: string, key: string, range: { start?: number; end?: number }): Promise<unknown>;
      putObject(object: { bucket: string; key: string; content: Readable | Buffer; metadata: object }): Written;
      putPart(bucket: string, uploadId: string, partNumber: number | string, content: Readable): Written;
    };
    run(): Promise<AddressInfo>;
    close(): Promise<void>;
  }
}
