import { closeCodes, methods, signals } from '@kith/protocol';
import manifest from '../../package.json' with { type: 'json' };
import { entity } from '../../packages/protocol/src/entities.ts';
import { errorBody, inOrder } from './openapi.ts';
import { type JsonSchema, components, jsonSchema } from './schemas.ts';

/** AsyncAPI 3.0 of the frames at `/ws`, from the server's side: it receives requests and sends the rest. */
export function asyncapi(): unknown {
  const messages: Record<string, unknown> = {};
  const operations: Record<string, unknown> = {};
  const channel = { $ref: '#/channels/ws' };
  const message = (name: string, summary: string, payload: JsonSchema) => {
    messages[name] = { name, summary, contentType: 'application/json', payload };
    return { $ref: `#/channels/ws/messages/${name}` };
  };
  const send = (name: string, summary: string, payload: JsonSchema) => {
    operations[name] = { action: 'send', channel, summary, messages: [message(name, summary, payload)] };
  };

  const error = message('error', 'The request cannot be done.', frame({ id: requestId, error: { $ref: '#/components/schemas/Error' } }));
  for (const [name, { summary, params, result }] of Object.entries(methods)) {
    operations[name] = {
      action: 'receive',
      channel,
      summary,
      messages: [message(`${name}.request`, summary, { ...frame({ id: requestId, method: { const: name }, params: jsonSchema(params) }), additionalProperties: false })],
      reply: { channel, messages: [message(`${name}.reply`, `Answers ${name}.`, frame({ id: requestId, result: jsonSchema(result) })), error] },
    };
  }
  send(
    'push',
    'A commit: these entities are now so. The bytes are the same for everybody who follows the stream.',
    frame({ stream: { type: 'string' }, version: { type: 'integer' }, entities: { type: 'array', items: jsonSchema(entity) } }),
  );
  send(
    'heads',
    'Newest versions of streams, those that moved since the last such frame: a lost push is found by them.',
    frame({ heads: { type: 'object', additionalProperties: { type: 'integer' } } }),
  );
  for (const [name, schema] of Object.entries(signals)) send(`signal.${name}`, 'Never stored, may be lost.', frame({ signal: { const: name }, data: jsonSchema(schema) }));

  return {
    asyncapi: '3.0.0',
    info: {
      title: 'Kith',
      version: manifest.version,
      description: `JSON in text frames. The rules behind them: protocol.md.\n\nClose codes:\n\n${Object.values(closeCodes)
        .map(({ code, reconnect, meaning }) => `- ${code} ${meaning} ${reconnect ? 'Connect again.' : 'Do not connect again by yourself.'}`)
        .join('\n')}`,
      license: { name: manifest.license },
    },
    defaultContentType: 'application/json',
    channels: { ws: { address: '/ws', messages } },
    operations,
    components: { schemas: { ...inOrder(components), Error: errorBody } },
  };
}

const requestId: JsonSchema = { type: 'string', minLength: 1, maxLength: 64, description: 'Chosen by the client; the reply carries it.' };

function frame(properties: Record<string, JsonSchema>): JsonSchema {
  return { type: 'object', required: Object.keys(properties), properties };
}
