import { lookup } from 'node:dns/promises';
import { type Socket, connect } from 'node:net';

/** What the fetcher sees of the network. */
export interface Network {
  /** All addresses of a name. */
  resolve(name: string): Promise<string[]>;
  connect(address: string, port: number): Socket;
  /** The address at which a connection ended. */
  remoteOf(socket: Socket): string | undefined;
  ports: number[];
  /** Whom to believe, beside the authorities that Node knows. */
  ca: string | undefined;
}

export const internet: Network = {
  resolve: async (name) => (await lookup(name, { all: true, order: 'ipv4first' })).map(({ address }) => address),
  connect: (host, port) => connect({ host, port }),
  remoteOf: ({ remoteAddress }) => remoteAddress,
  ports: [80, 443],
  ca: undefined,
};

/** A network for tests, on this machine, of public addresses that lead to ports of it. Handed in by code; no setting leads here. */
export interface TestNetwork {
  /** What a name resolves to, answer by answer, the last for ever. Other names are nobody's. */
  names: Record<string, string[][]>;
  /** At which port of 127.0.0.1 what stands for an address listens. */
  listening: Record<string, number>;
  /** The port for all others. Nothing leaves the machine, and whoever lets a wrong address through is seen there. */
  elsewhere: number;
  /** Whoever connects to the first ends at the second. */
  astray: Record<string, string>;
  /** In PEM. */
  ca: string;
}

export function testNetwork({ names, listening, elsewhere, astray, ca }: TestNetwork): Network {
  return {
    resolve: async (name) => {
      const answers = names[name] ?? [];
      return (answers.length > 1 ? answers.shift() : answers[0]) ?? [];
    },
    connect: (address) => connect({ host: '127.0.0.1', port: listening[astray[address] ?? address] ?? elsewhere }),
    remoteOf: ({ remoteAddress, remotePort }) => Object.keys(listening).find((address) => listening[address] === remotePort) ?? remoteAddress,
    ports: internet.ports,
    ca,
  };
}
