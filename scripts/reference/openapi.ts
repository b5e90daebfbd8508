import { errorCodes, methods } from '@kith/protocol';
import manifest from '../../package.json' with { type: 'json' };
import { type JsonSchema, components, jsonSchema } from './schemas.ts';

/** The shape of `error` in replies and in answers over HTTP. */
export const errorBody: JsonSchema = {
  type: 'object',
  required: ['code', 'message', 'retryable'],
  properties: {
    code: { type: 'string', enum: Object.keys(errorCodes) },
    message: { type: 'string', description: 'For people who debug; show your own text by `code`.' },
    retryable: { type: 'boolean', description: 'The same request may succeed later.' },
    path: { type: 'string', description: '`bad_request`: the first offending field.' },
    retryAfterMs: { type: 'integer', description: '`rate_limited`, `busy`: milliseconds to wait.' },
    id: { type: 'string', description: '`internal`: quote this to the operator.' },
    ticket: { type: 'string', description: '`factor_required`: what `auth.factor` needs.' },
  },
};

/** OpenAPI 3.1 of `POST /api/<method>`. */
export function openapi(): unknown {
  const paths: Record<string, unknown> = {};
  for (const [name, { summary, params, result, access, durable }] of Object.entries(methods)) {
    // It opens a connection; over HTTP every request carries its own token.
    if (name === 'hello') continue;
    paths[`/api/${name}`] = {
      post: {
        operationId: name,
        tags: [name.split('.')[0]],
        summary,
        ...(durable && { description: 'The answer comes after the change is on disk.' }),
        ...(access === 'public' && { security: [] }),
        requestBody: { required: true, content: { 'application/json': { schema: jsonSchema(params) } } },
        responses: {
          200: { description: 'Done.', content: { 'application/json': { schema: jsonSchema(result) } } },
          default: { $ref: '#/components/responses/Error' },
        },
      },
    };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Kith',
      version: manifest.version,
      description: 'Every method of the protocol over HTTP. What lives (pushes, signals) comes over `/ws` only; see asyncapi.json and protocol.md.',
      license: { name: manifest.license, identifier: manifest.license },
    },
    servers: [{ url: '/' }],
    security: [{ bearer: [] }, { cookie: [] }],
    paths,
    components: {
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer', description: 'The token that signing in answers.' },
        cookie: { type: 'apiKey', in: 'cookie', name: 'kith', description: 'Only for the web client, with the exact `Origin`. Behind TLS its name is `__Host-kith`.' },
      },
      responses: {
        Error: {
          description: 'It could not be done. The status follows from the code.',
          content: { 'application/json': { schema: { type: 'object', required: ['error'], properties: { error: { $ref: '#/components/schemas/Error' } } } } },
        },
      },
      schemas: { ...inOrder(components), Error: errorBody },
    },
  };
}

export function inOrder<T>(record: Record<string, T>): Record<string, T> {
  return Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)));
}
