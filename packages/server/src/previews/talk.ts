import type { TestNetwork } from './network.ts';

// What crosses between the server and the process that fetches; JSON, so that nothing but plain data can come back.

/** First. */
export interface Start {
  ownHosts: string[];
  test?: TestNetwork;
}

export interface Asked {
  id: number;
  url: string;
}

/** What was read, as it stood there. */
export interface Read {
  /** Where it was, with a port if that is named. */
  host: string;
  title?: string;
  description?: string;
  /** Of a picture that is no page: the path of its address. */
  path?: string;
  /** Base64. */
  picture?: string;
}

/** Without `read` there was nothing, or nothing that may be read. */
export interface Answered {
  id: number;
  read?: Read;
}
