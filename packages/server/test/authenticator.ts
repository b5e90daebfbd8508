import { type KeyObject, createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import type { Assertion, Params } from '@kith/protocol';

/** An authenticator and the browser before it, as WebAuthn (level 2) has them; what it says can be bent for attacks. */
export class Authenticator {
  readonly id = randomBytes(16).toString('base64url');
  readonly #key: KeyObject;
  readonly #cose: Buffer;
  counter = 0;

  constructor() {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const { x, y } = publicKey.export({ format: 'jwk' });
    this.#key = privateKey;
    this.#cose = Buffer.concat([Buffer.from('a5010203262001215820', 'hex'), Buffer.from(x!, 'base64url'), Buffer.from('225820', 'hex'), Buffer.from(y!, 'base64url')]);
  }

  make(challenge: string, says: Says): Omit<Params<'passkey.add'>, 'name'> {
    const id = Buffer.from(this.id, 'base64url');
    const length = Buffer.alloc(2);
    length.writeUInt16BE(id.length);
    const data = Buffer.concat([this.#data(says, 0x40), Buffer.alloc(16), length, id, this.#cose]);
    const attestationObject = Buffer.concat([Buffer.from('a363666d74646e6f6e656761747453746d74a0686175746844617461', 'hex'), Buffer.from([0x58, data.length]), data]).toString(
      'base64url',
    );
    return { id: this.id, clientDataJSON: clientData('webauthn.create', challenge, says).toString('base64url'), attestationObject };
  }

  show(challenge: string, says: Says & { userId?: string; counter?: number }): Assertion {
    this.counter = says.counter ?? this.counter + 1;
    const data = this.#data(says, 0);
    const client = clientData('webauthn.get', challenge, says);
    return {
      id: this.id,
      clientDataJSON: client.toString('base64url'),
      authenticatorData: data.toString('base64url'),
      signature: sign('sha256', Buffer.concat([data, createHash('sha256').update(client).digest()]), this.#key).toString('base64url'),
      ...(says.userId !== undefined && { userHandle: Buffer.from(says.userId).toString('base64url') }),
    };
  }

  #data({ origin, rpId = new URL(origin).hostname, verified = true }: Says, flags: number): Buffer {
    const counter = Buffer.alloc(4);
    counter.writeUInt32BE(this.counter);
    return Buffer.concat([createHash('sha256').update(rpId).digest(), Buffer.from([0x01 | (verified ? 0x04 : 0) | flags]), counter]);
  }
}

export interface Says {
  /** Of the page. */
  origin: string;
  /** Default: the host of the page. */
  rpId?: string;
  /** By finger, face or PIN. */
  verified?: boolean;
  type?: string;
}

const clientData = (type: string, challenge: string, says: Says): Buffer =>
  Buffer.from(JSON.stringify({ type: says.type ?? type, challenge, origin: says.origin, crossOrigin: false }));
