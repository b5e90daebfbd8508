import { createCipheriv, createECDH, createPrivateKey, hkdfSync, randomBytes, sign } from 'node:crypto';

// Web Push as two RFCs have it, on bytes and without I/O: 8291 (a message that only the device can read, in the coding
// of RFC 8188) and 8292 (who sends it).

const curve = 'prime256v1';
/** Records as large as push services take; a push is always one. */
const recordBytes = 4_096;
const tokenSeconds = 12 * 3_600;

/** Base64url: an uncompressed point, and its scalar. */
export interface VapidKeys {
  publicKey: string;
  privateKey: string;
}

/** What the browser gave for one subscription, base64url. */
export interface DeviceKeys {
  p256dh: string;
  auth: string;
}

export function makeVapidKeys(): VapidKeys {
  const pair = createECDH(curve);
  const publicKey = pair.generateKeys('base64url');
  // Leading zeros are part of it: a key in JWK has 32 bytes.
  const privateKey = Buffer.concat([Buffer.alloc(32), pair.getPrivateKey()]).subarray(-32);
  return { publicKey, privateKey: privateKey.toString('base64url') };
}

/**
 * The `Authorization` of a push.
 *
 * @param endpoint  The token is good for its origin alone.
 * @param subject   `https:` or `mailto:`, whom the push service may turn to.
 * @param now       Milliseconds since 1970.
 */
/** Do the two belong together? */
export function areVapidKeys({ publicKey, privateKey }: VapidKeys): boolean {
  try {
    const pair = createECDH(curve);
    pair.setPrivateKey(privateKey, 'base64url');
    return pair.getPublicKey('base64url') === publicKey;
  } catch {
    return false;
  }
}

export function vapidAuthorization(keys: VapidKeys, endpoint: string, subject: string, now: number): string {
  const point = Buffer.from(keys.publicKey, 'base64url');
  const [x, y] = [point.subarray(1, 33), point.subarray(33)].map((half) => half.toString('base64url'));
  const key = createPrivateKey({ format: 'jwk', key: { kty: 'EC', crv: 'P-256', x: x!, y: y!, d: keys.privateKey } });
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const claims = { aud: new URL(endpoint).origin, exp: Math.floor(now / 1_000) + tokenSeconds, sub: subject };
  const signed = `${part({ typ: 'JWT', alg: 'ES256' })}.${part(claims)}`;
  const signature = sign('sha256', Buffer.from(signed), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url');
  return `vapid t=${signed}.${signature}, k=${keys.publicKey}`;
}

/**
 * A push as `Content-Encoding: aes128gcm`.
 *
 * @param once  Salt and key of this one push; random unless a test repeats an example.
 * @throws when the device's key is no point of the curve
 */
export function encryptPush(device: DeviceKeys, text: string, once: { salt?: Buffer; privateKey?: Buffer } = {}): Buffer {
  const salt = once.salt ?? randomBytes(16);
  const ours = createECDH(curve);
  if (once.privateKey) ours.setPrivateKey(once.privateKey);
  else ours.generateKeys();
  const theirPoint = Buffer.from(device.p256dh, 'base64url');
  const ourPoint = ours.getPublicKey();
  const info = Buffer.concat([Buffer.from('WebPush: info\0'), theirPoint, ourPoint]);
  const secret = derive(ours.computeSecret(theirPoint), Buffer.from(device.auth, 'base64url'), info, 32);
  const key = derive(secret, salt, Buffer.from('Content-Encoding: aes128gcm\0'), 16);
  const nonce = derive(secret, salt, Buffer.from('Content-Encoding: nonce\0'), 12);
  const size = Buffer.alloc(4);
  size.writeUInt32BE(recordBytes);
  const cipher = createCipheriv('aes-128-gcm', key, nonce);
  // 2 ends the text of the last record.
  const sealed = [cipher.update(text, 'utf8'), cipher.update(Buffer.from([2])), cipher.final(), cipher.getAuthTag()];
  return Buffer.concat([salt, size, Buffer.from([ourPoint.length]), ourPoint, ...sealed]);
}

/** Can pushes be encrypted for this device? Half of all points given at will are not on the curve. */
export function areDeviceKeys({ p256dh, auth }: DeviceKeys): boolean {
  try {
    const ours = createECDH(curve);
    ours.generateKeys();
    ours.computeSecret(Buffer.from(p256dh, 'base64url'));
    return Buffer.from(auth, 'base64url').length === 16;
  } catch {
    return false;
  }
}

const derive = (secret: Buffer, salt: Buffer, info: Buffer, bytes: number): Buffer => Buffer.from(hkdfSync('sha256', secret, salt, info, bytes));
