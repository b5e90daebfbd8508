import path from 'node:path';
import { type Config, mib } from '../config.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import type { Blobs } from './blobs.ts';
import { openDisk } from './disk.ts';
import { openS3 } from './s3.ts';

type Where = Pick<Config, 'data' | 'uploadReserve' | 's3Endpoint' | 's3Bucket' | 's3Region' | 's3AccessKey' | 's3SecretKey'>;

/** The store that the configuration names. @throws ConfigError: it refuses us */
export async function openBlobs({ data, uploadReserve, ...s3 }: Where, parts: { log: Log; metrics: Pick<Metrics, 'storeRequests'> }): Promise<Blobs> {
  const { s3Endpoint, s3Bucket, s3Region, s3AccessKey, s3SecretKey } = s3;
  if (s3Endpoint === undefined || s3Bucket === undefined || s3AccessKey === undefined || s3SecretKey === undefined) {
    return openDisk(path.join(data, 'files'), { reserveBytes: uploadReserve * mib });
  }
  const blobs = openS3({ endpoint: s3Endpoint, bucket: s3Bucket, region: s3Region, accessKey: s3AccessKey, secretKey: s3SecretKey }, parts);
  await blobs.check();
  return blobs;
}
