import { entities } from '@kith/protocol';
import * as z from 'zod/mini';
import * as field from '../../packages/protocol/src/method.ts';
import { entity } from '../../packages/protocol/src/entities.ts';
import { profile } from '../../packages/protocol/src/users.ts';

/** The part of JSON Schema (2020-12) that our schemas become. */
export interface JsonSchema {
  $ref?: string;
  type?: string | string[];
  const?: unknown;
  enum?: unknown[];
  description?: string;
  pattern?: string;
  minLength?: number;
  maxLength?: number;
  minimum?: number;
  maximum?: number;
  minItems?: number;
  maxItems?: number;
  items?: JsonSchema;
  anyOf?: JsonSchema[];
  oneOf?: JsonSchema[];
  properties?: Record<string, JsonSchema>;
  required?: string[];
  additionalProperties?: boolean | JsonSchema;
  $defs?: Record<string, JsonSchema>;
}

/** Kinds of fields that many methods share: they get a name and one explanation. */
const fields: Record<string, [schema: z.ZodMiniType, description: string]> = {
  Id: [field.id, 'Made by the server; opaque to everybody else.'],
  ClientId: [field.clientId, 'Made by the sender, for example a UUID. Per sender it names one message for ever, so that sending again is safe.'],
  StreamId: [field.streamId, '`conversation:<id>` or `user:<id>`.'],
  Seq: [field.seq, 'Place of a message in its conversation: 1, 2, 3 … without holes.'],
  Version: [field.version, 'Counts the commits of a stream, without holes.'],
  Time: [field.time, 'Milliseconds since 1970, by the server’s clock.'],
  Handle: [field.handle, 'A user name, unique on the server.'],
  Password: [field.password, 'A new password.'],
  Avatar: [field.avatar, 'What the generated picture is drawn from. Empty: drawn from the id.'],
  Name: [field.name, 'A name that can be shown: no control or invisible characters, not only space.'],
  Title: [field.title, 'A title that can be shown: no control or invisible characters, not only space.'],
  MessageText: [field.messageText, 'Text of a message: no control characters other than tab and newline.'],
};

export const fieldNames = Object.keys(fields);
/** What streams carry, `Message` and the like, and the profile that others see of a person. */
export const thingNames = ['Entity', ...Object.keys(entities).map(capital), 'Profile'];

const names = z.registry<{ id: string; description?: string }>();
for (const [id, [schema, description]] of Object.entries(fields)) names.add(schema, { id, description });
for (const [kind, { schema }] of Object.entries(entities)) names.add(schema, { id: capital(kind) });
names.add(entity, { id: 'Entity', description: 'One row of what is synced; `kind` says which.' });
names.add(profile, { id: 'Profile', description: 'What others may see of a person.' });

/** The named schemas that `jsonSchema` has come across, by name. Complete once everything has been asked for. */
export const components: Record<string, JsonSchema> = {};

/** As JSON Schema; whatever has a name is a reference into `#/components/schemas`. */
export function jsonSchema(schema: z.ZodMiniType): JsonSchema {
  // As input: clients are told what they must send, and that answers may get further fields one day.
  const { $schema: _, ...made } = z.toJSONSchema(schema, { metadata: names, io: 'input' }) as JsonSchema & { $schema?: string };
  const { $defs = {}, ...body } = tidy(made);
  for (const [name, definition] of Object.entries($defs)) {
    const { id: _id, ...rest } = definition as JsonSchema & { id?: string };
    components[name] ??= rest;
  }
  return body;
}

function tidy(schema: JsonSchema): JsonSchema {
  return JSON.parse(JSON.stringify(schema), (key, value: unknown) => {
    if (key === '$ref') return (value as string).replace('#/$defs/', '#/components/schemas/');
    // What a double holds exactly is not a limit of ours.
    if ((key === 'maximum' && value === Number.MAX_SAFE_INTEGER) || (key === 'minimum' && value === Number.MIN_SAFE_INTEGER)) return undefined;
    return value;
  }) as JsonSchema;
}

export function capital(word: string): string {
  return word[0]!.toUpperCase() + word.slice(1);
}
